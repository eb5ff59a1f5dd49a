# The load balancer of the WebSocket: $16 a month, and what its traffic costs.

locals {
  ping_seconds = ceil(tonumber(lookup(var.settings, "gateway.ping_seconds", "20")))
}

resource "aws_lb" "websocket" {
  name                       = "${var.name}-ws"
  load_balancer_type         = "application"
  subnets                    = local.public_subnets
  security_groups            = [aws_security_group.load_balancer.id]
  idle_timeout               = max(60, 3 * local.ping_seconds) # A connection that only pings is not idle.
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "gateway" {
  name                 = "${var.name}-gateway"
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.gateway_port
  vpc_id               = local.vpc_id
  deregistration_delay = 30 # Clients resume elsewhere at once.

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "websocket" {
  load_balancer_arn = aws_lb.websocket.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }
}
