# Messages that wait, and those that nobody could answer. FIFO in high-throughput mode: one order per conversation.

resource "aws_sqs_queue" "dead_letters" {
  for_each = { for name, queue in local.stack.queues : name => queue if queue.dead_letters == null }

  name                        = each.key
  fifo_queue                  = true
  content_based_deduplication = false
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  visibility_timeout_seconds  = each.value.visibility_seconds
  message_retention_seconds   = each.value.retention_seconds
  sqs_managed_sse_enabled     = true
}

resource "aws_sqs_queue" "jobs" {
  for_each = { for name, queue in local.stack.queues : name => queue if queue.dead_letters != null }

  name                        = each.key
  fifo_queue                  = true
  content_based_deduplication = false
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  visibility_timeout_seconds  = each.value.visibility_seconds
  message_retention_seconds   = each.value.retention_seconds
  sqs_managed_sse_enabled     = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters[each.value.dead_letters].arn
    maxReceiveCount     = each.value.max_receive_count
  })
}

locals {
  jobs_queue         = one([for name, queue in local.stack.queues : name if queue.dead_letters != null])
  dead_letters_queue = one([for name, queue in local.stack.queues : name if queue.dead_letters == null])
}
