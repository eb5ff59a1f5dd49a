# What wakes somebody, what they look at then, and a budget. An alarm costs $0.10 a month, the dashboard nothing.

resource "aws_sns_topic" "alarms" {
  count = var.alarm_email == "" ? 0 : 1

  name = "${var.name}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms[0].arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_log_metric_filter" "breaker" {
  name           = "${var.name}-breaker-open"
  log_group_name = aws_cloudwatch_log_group.service["worker"].name
  pattern        = "{ $.event = \"breaker open\" }"

  metric_transformation {
    namespace = "cloudia/${var.name}"
    name      = "BreakerOpen"
    value     = "1"
  }
}

locals {
  alarms = {
    oldest-message = {
      says       = "A message has waited for over a minute: too few workers, or none."
      namespace  = "AWS/SQS"
      metric     = "ApproximateAgeOfOldestMessage"
      statistic  = "Maximum"
      above      = 60
      periods    = 3
      dimensions = { QueueName = local.jobs_queue }
    }
    dead-letters = {
      says       = "A message could not be answered: `cloudia dlq list` says why."
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      statistic  = "Maximum"
      above      = 0
      periods    = 1
      dimensions = { QueueName = local.dead_letters_queue }
    }
    server-errors = {
      says       = "Requests of the HTTP API fail: see the functions' logs."
      namespace  = "AWS/ApiGateway"
      metric     = "5xx"
      statistic  = "Sum"
      above      = 5
      periods    = 1
      dimensions = { ApiId = aws_apigatewayv2_api.http.id }
    }
    breaker = {
      says       = "A provider fails, and its breaker is open."
      namespace  = "cloudia/${var.name}"
      metric     = "BreakerOpen"
      statistic  = "Sum"
      above      = 0
      periods    = 1
      dimensions = {}
    }
  }
  alarm_actions = aws_sns_topic.alarms[*].arn
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

# A worker always asks the queue: where nobody has for five minutes, there is none.
resource "aws_cloudwatch_metric_alarm" "worker_absent" {
  count = var.workers > 0 ? 1 : 0

  alarm_name          = "${var.name}-worker-absent"
  alarm_description   = "Nobody asks the queue: no worker runs, or none is allowed to."
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions

  metric_query {
    id          = "asked"
    expression  = "empty + received"
    label       = "receives"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { empty = "NumberOfEmptyReceives", received = "NumberOfMessagesReceived" }
    content {
      id = metric_query.key
      metric {
        namespace   = "AWS/SQS"
        metric_name = metric_query.value
        dimensions  = { QueueName = local.jobs_queue }
        stat        = "Sum"
        period      = 300
      }
    }
  }
}

resource "aws_cloudwatch_dashboard" "stack" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for place, widget in [
        { title = "Messages that wait, and are in work", metrics = [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.jobs_queue],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", local.jobs_queue],
        ] },
        { title = "Age of the oldest message, s", metrics = [
          ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", local.jobs_queue],
        ] },
        { title = "Dead letters", metrics = [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.dead_letters_queue],
        ] },
        { title = "Requests, and those that failed", metrics = [
          for metric in ["Count", "4xx", "5xx"] : ["AWS/ApiGateway", metric, "ApiId", aws_apigatewayv2_api.http.id]
        ] },
        { title = "Connections", metrics = [
          ["AWS/ApplicationELB", "ActiveConnectionCount", "LoadBalancer", aws_lb.websocket.arn_suffix],
        ] },
        { title = "CPU of worker and gateway, %", metrics = [
          for service in keys(local.services) :
          ["AWS/ECS", "CPUUtilization", "ClusterName", aws_ecs_cluster.services.name, "ServiceName", service]
        ] },
        ] : {
        type   = "metric"
        x      = place % 2 * 12
        y      = floor(place / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = local.region
          view    = "timeSeries"
          metrics = widget.metrics
        }
      }
    ]
  })
}

# Of the whole account: a filter by tag sees nothing until somebody has switched that tag on in Billing.
resource "aws_budgets_budget" "monthly" {
  count = var.budget_dollars > 0 ? 1 : 0

  name         = var.name
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.budget_dollars)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = [80, 100]
    content {
      notification_type          = "ACTUAL"
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = [var.alarm_email]
    }
  }
}
