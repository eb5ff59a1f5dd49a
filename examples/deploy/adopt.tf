# Taking over what `cloudia provision` has made: queues and tables with all they hold. Secrets stay as they are, and out of the
# state: plan with `-var adopt=true -var 'secret_versions={}'`.

data "aws_sqs_queue" "adopted" {
  for_each = var.adopt ? toset(["${var.name}-jobs.fifo", "${var.name}-jobs-dlq.fifo"]) : []
  name     = each.key
}

import {
  for_each = var.adopt ? toset(["${var.name}-jobs.fifo"]) : []
  to       = module.cloudia.aws_sqs_queue.jobs[each.key]
  id       = data.aws_sqs_queue.adopted[each.key].url
}

import {
  for_each = var.adopt ? toset(["${var.name}-jobs-dlq.fifo"]) : []
  to       = module.cloudia.aws_sqs_queue.dead_letters[each.key]
  id       = data.aws_sqs_queue.adopted[each.key].url
}

import {
  for_each = var.adopt ? toset([
    for table in ["conversations", "messages", "jobs", "idempotency", "presence"] : "${var.name}-${table}"
  ]) : []
  to = module.cloudia.aws_dynamodb_table.table[each.key]
  id = each.key
}
