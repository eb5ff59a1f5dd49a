# What the module makes of each choice, without an account: `terraform test -var functions_dir=DIST`.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:mocked" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:mocked.fifo" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:us-east-1:123456789012:mocked" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { invoke_arn = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/mocked/invocations" }
  }
  mock_resource "aws_apigatewayv2_api" {
    defaults = { execution_arn = "arn:aws:execute-api:us-east-1:123456789012:mocked" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/mocked/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/mocked/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/mocked/1/2" }
  }
  mock_resource "aws_elasticache_serverless_cache" {
    defaults = { endpoint = [{ address = "mocked.example.test", port = 6379 }] }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:us-east-1:123456789012:task-definition/mocked:1" }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { id = "arn:aws:ecs:us-east-1:123456789012:cluster/mocked" }
  }
}

variables {
  image           = "example.test/cloudia:1"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
  secrets         = { token-secret = "t", session-secret = "s", redis-url = "r" }
}

run "the_defaults_cost_least" {
  assert {
    condition     = aws_ecs_service.service["worker"].desired_count == 1 && aws_ecs_service.service["gateway"].desired_count == 1
    error_message = "One worker and one gateway."
  }
  assert {
    condition     = one(aws_ecs_service.service["worker"].capacity_provider_strategy).capacity_provider == "FARGATE_SPOT"
    error_message = "The worker runs on Spot."
  }
  assert {
    condition     = one(aws_ecs_service.service["gateway"].capacity_provider_strategy).capacity_provider == "FARGATE"
    error_message = "The gateway does not."
  }
  assert {
    condition     = aws_elasticache_replication_group.valkey[0].num_cache_clusters == 1 && length(aws_elasticache_serverless_cache.valkey) == 0
    error_message = "One node of Valkey."
  }
  assert {
    condition     = length(aws_budgets_budget.monthly) == 0 && length(aws_sns_topic.alarms) == 0
    error_message = "Nobody is told where nobody is named."
  }
  assert {
    condition     = alltrue([for function in aws_lambda_function.function : function.architectures[0] == "arm64"])
    error_message = "Functions run on arm64."
  }
  assert {
    condition     = aws_lb.websocket.idle_timeout >= 60 && aws_lb_listener.websocket.protocol == "HTTPS"
    error_message = "A connection lives between pings, and is encrypted."
  }
  assert {
    condition     = alltrue([for table in aws_dynamodb_table.table : table.point_in_time_recovery[0].enabled && table.deletion_protection_enabled])
    error_message = "Tables can be recovered, and are not deleted by chance."
  }
}

run "rights_name_what_they_are_for" {
  assert {
    condition = alltrue(flatten([
      for policy in merge(aws_iam_role_policy.function, aws_iam_role_policy.task) : [
        for statement in jsondecode(policy.policy).Statement :
        statement.Resource != "*" && !strcontains(join("", flatten([statement.Action])), "*")
      ]
    ]))
    error_message = "No part may do everything, or something with everything."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.function["get_job"].policy).Statement : statement.Resource
      ])) == toset([
      "arn:aws:ssm:us-east-1:123456789012:parameter/cloudia/token-secret",
      "arn:aws:dynamodb:us-east-1:123456789012:table/cloudia-jobs",
      "arn:aws:dynamodb:us-east-1:123456789012:table/cloudia-messages",
      "arn:aws:logs:us-east-1:123456789012:log-group:mocked:*",
    ])
    error_message = "A function reaches what its grants name."
  }
}

run "the_parts_are_told_what_they_read" {
  variables {
    settings    = { "worker.concurrency" = "64", "gateway.ping_seconds" = "50", "limits.jobs_per_user" = "3" }
    web_origins = ["https://chat.example.test"]
  }
  assert {
    condition = {
      for each in jsondecode(aws_ecs_task_definition.service["worker"].container_definitions)[0].environment :
      each.name => each.value if startswith(each.name, "CLOUDIA_WORKER_")
    } == { CLOUDIA_WORKER_CONCURRENCY = "64", CLOUDIA_WORKER_GRACE_SECONDS = "100", CLOUDIA_WORKER_PROBE_PORT = "8080" }
    error_message = "The worker has its settings."
  }
  assert {
    condition     = aws_lambda_function.function["post_message"].environment[0].variables == tomap({ CLOUDIA_STACK_NAME = "cloudia", CLOUDIA_AWS_REGION = "us-east-1", CLOUDIA_LIMITS_JOBS_PER_USER = "3" })
    error_message = "A function has what it reads, and no more."
  }
  assert {
    condition     = aws_lb.websocket.idle_timeout == 150
    error_message = "The load balancer waits for longer than the pings are apart."
  }
  assert {
    condition     = toset(aws_apigatewayv2_api.http.cors_configuration[0].allow_origins) == toset(["https://chat.example.test"])
    error_message = "Pages of these origins may call."
  }
}

run "highly_available" {
  variables {
    workers     = 2
    worker_spot = false
    gateways    = 2
    valkey      = "replicas"
  }
  assert {
    condition     = aws_elasticache_replication_group.valkey[0].automatic_failover_enabled && aws_elasticache_replication_group.valkey[0].num_cache_clusters == 2
    error_message = "Valkey survives a node."
  }
  assert {
    condition     = aws_ecs_service.service["gateway"].desired_count == 2 && aws_ecs_service.service["worker"].desired_count == 2
    error_message = "Two of each."
  }
}

run "a_redis_of_ones_own_is_a_secret" {
  variables {
    valkey          = "url"
    secret_versions = { token-secret = 1, session-secret = 1, redis-url = 1 }
  }
  assert {
    condition = alltrue([
      for each in aws_ecs_task_definition.service :
      jsondecode(each.container_definitions)[0].secrets[0].valueFrom == "arn:aws:ssm:us-east-1:123456789012:parameter/cloudia/redis-url"
      && !strcontains(jsonencode(jsondecode(each.container_definitions)[0].environment), "REDIS")
    ])
    error_message = "ECS reads the URL from Parameter Store; no definition has it."
  }
  assert {
    condition     = length(aws_elasticache_replication_group.valkey) == 0
    error_message = "There is no other."
  }
}

run "serverless" {
  variables {
    valkey = "serverless"
  }
  assert {
    condition     = length(aws_elasticache_serverless_cache.valkey) == 1 && length(aws_elasticache_replication_group.valkey) == 0
    error_message = "Valkey is serverless."
  }
}

run "a_network_of_ones_own" {
  variables {
    network = { vpc_id = "vpc-1", public_subnet_ids = ["subnet-1", "subnet-2"], private_subnet_ids = ["subnet-3"] }
  }
  assert {
    condition     = length(aws_vpc.own) == 0 && !one(aws_ecs_service.service["worker"].network_configuration).assign_public_ip
    error_message = "No other is made, and no task has a public address."
  }
}

run "tokens_of_others" {
  variables {
    jwt = {
      issuer    = "https://id.example.test/"
      audience  = "chat"
      jwks_url  = "https://id.example.test/keys"
      layer_arn = "arn:aws:lambda:us-east-1:123456789012:layer:cryptography:1"
    }
  }
  assert {
    condition     = toset([for key, route in aws_apigatewayv2_route.route : key if route.authorization_type == "NONE"]) == toset(["GET /health"])
    error_message = "API Gateway asks for a token, but for health."
  }
  assert {
    condition     = aws_lambda_function.function["get_job"].environment[0].variables["CLOUDIA_AUTH_JWKS_URL"] == "https://id.example.test/keys"
    error_message = "So do the functions."
  }
}

run "who_is_told" {
  variables {
    alarm_email    = "ops@example.test"
    budget_dollars = 50
  }
  assert {
    condition     = length(aws_budgets_budget.monthly) == 1 && alltrue([for alarm in aws_cloudwatch_metric_alarm.alarm : length(alarm.alarm_actions) == 1])
    error_message = "Alarms and budget have somebody to tell."
  }
}
