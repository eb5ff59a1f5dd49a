# Worker and gateway on Fargate: one image, two commands.

locals {
  gateway_port = 8765
  probe_port   = 8080

  services = {
    worker = {
      count    = var.workers
      size     = var.worker_size
      provider = var.worker_spot ? "FARGATE_SPOT" : "FARGATE"
      group    = aws_security_group.worker.id
      told     = { CLOUDIA_WORKER_PROBE_PORT = tostring(local.probe_port) }
      probe    = "http://127.0.0.1:${local.probe_port}/live"
      ports    = []
    }
    gateway = {
      count    = var.gateways
      size     = var.gateway_size
      provider = "FARGATE" # Connections are many clients' at once; Spot would have them all come again.
      group    = aws_security_group.gateway.id
      told     = { CLOUDIA_GATEWAY_HOST = "0.0.0.0", CLOUDIA_GATEWAY_PORT = tostring(local.gateway_port) }
      probe    = "http://127.0.0.1:${local.gateway_port}/health"
      ports    = [{ containerPort = local.gateway_port, hostPort = local.gateway_port, protocol = "tcp" }]
    }
  }
}

resource "aws_cloudwatch_log_group" "service" {
  for_each = local.services

  name              = "/${var.name}/${each.key}"
  retention_in_days = local.stack.log_retention_days
}

resource "aws_ecs_cluster" "services" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "disabled" # It is paid by metric; the alarms need none of it.
  }
}

resource "aws_ecs_cluster_capacity_providers" "services" {
  cluster_name       = aws_ecs_cluster.services.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_iam_role" "task" {
  for_each = local.services

  name               = "${var.name}-${each.key}"
  assume_role_policy = local.for_tasks
}

resource "aws_iam_role_policy" "task" {
  for_each = local.services

  name   = "grants"
  role   = aws_iam_role.task[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.statements[each.key] })
}

# What ECS itself does for a task before and beside it: fetch the image, write the log, read the URL of Redis.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = local.for_tasks
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" }, # It has no resource.
        {
          Effect   = "Allow"
          Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          Resource = "arn:${data.aws_partition.current.partition}:ecr:${local.region}:${data.aws_caller_identity.current.account_id}:repository/*"
        },
        {
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = [for group in aws_cloudwatch_log_group.service : "${group.arn}:*"]
        },
      ],
      local.valkey_own ? [] : [{ Effect = "Allow", Action = ["ssm:GetParameters"], Resource = local.redis_url_arn }],
    )
  })
}

locals {
  for_tasks = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" } }]
  })
  redis_url_arn = "arn:${data.aws_partition.current.partition}:ssm:${local.region}:${data.aws_caller_identity.current.account_id}:parameter${local.parameters["redis-url"].name}"
}

resource "aws_ecs_task_definition" "service" {
  for_each = local.services

  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.size.cpu
  memory                   = each.value.size.memory
  task_role_arn            = aws_iam_role.task[each.key].arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "ARM64"
  }

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = var.image
    entryPoint             = ["python", "-m"]
    command                = ["cloudia.${each.key}"]
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = 120 # The most that Fargate gives.
    portMappings           = each.value.ports
    environment = [
      for variable, value in merge(
        local.environment[each.key],
        each.value.told,
        local.valkey_own ? { CLOUDIA_REDIS_URL = local.redis_url } : {},
      ) : { name = variable, value = value }
    ]
    secrets = local.valkey_own ? [] : [{ name = "CLOUDIA_REDIS_URL", valueFrom = local.redis_url_arn }]
    healthCheck = {
      command     = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('${each.value.probe}', timeout=4)"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service[each.key].name
        awslogs-region        = local.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "service" {
  for_each = local.services

  name            = each.key
  cluster         = aws_ecs_cluster.services.id
  task_definition = aws_ecs_task_definition.service[each.key].arn
  desired_count   = each.value.count

  capacity_provider_strategy {
    capacity_provider = each.value.provider
    weight            = 1
  }

  network_configuration {
    subnets          = local.private_subnets
    security_groups  = [each.value.group]
    assign_public_ip = var.network == null
  }

  dynamic "load_balancer" {
    for_each = each.key == "gateway" ? [aws_lb_target_group.gateway.arn] : []
    content {
      target_group_arn = load_balancer.value
      container_name   = each.key
      container_port   = local.gateway_port
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  # What a task is started with is there before it, and what its last words need is there until it has ended.
  depends_on = [
    aws_ecs_cluster_capacity_providers.services,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_lb_listener.websocket,
    aws_ssm_parameter.secret,
  ]
}
