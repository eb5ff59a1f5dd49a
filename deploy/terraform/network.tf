# A small network: two public subnets. Tasks have public addresses and let nobody in, so no NAT ($33 a month) is needed.

data "aws_availability_zones" "available" {
  count = var.network == null ? 1 : 0
  state = "available"
}

resource "aws_vpc" "own" {
  count = var.network == null ? 1 : 0

  cidr_block           = "10.64.0.0/24"
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_default_security_group" "own" {
  count = var.network == null ? 1 : 0

  vpc_id = aws_vpc.own[0].id # Without a rule: what is put into no other group reaches nothing.
}

resource "aws_subnet" "own" {
  count = var.network == null ? 2 : 0

  vpc_id            = aws_vpc.own[0].id
  cidr_block        = cidrsubnet(aws_vpc.own[0].cidr_block, 2, count.index)
  availability_zone = data.aws_availability_zones.available[0].names[count.index]
  tags              = { Name = "${var.name}-${count.index}" }
}

resource "aws_internet_gateway" "own" {
  count = var.network == null ? 1 : 0

  vpc_id = aws_vpc.own[0].id
  tags   = { Name = var.name }
}

resource "aws_route_table" "own" {
  count = var.network == null ? 1 : 0

  vpc_id = aws_vpc.own[0].id
  tags   = { Name = var.name }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.own[0].id
  }
}

resource "aws_route_table_association" "own" {
  count = var.network == null ? 2 : 0

  subnet_id      = aws_subnet.own[count.index].id
  route_table_id = aws_route_table.own[0].id
}

locals {
  vpc_id          = var.network == null ? aws_vpc.own[0].id : var.network.vpc_id
  public_subnets  = var.network == null ? aws_subnet.own[*].id : var.network.public_subnet_ids
  private_subnets = var.network == null ? aws_subnet.own[*].id : var.network.private_subnet_ids
}

# Who may talk to whom: the world to the load balancer, that to the gateway, gateway and worker to Valkey.

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-load-balancer"
  description = "The WebSocket, for everybody"
  vpc_id      = local.vpc_id
}

resource "aws_security_group" "gateway" {
  name        = "${var.name}-gateway"
  description = "The gateway, for the load balancer"
  vpc_id      = local.vpc_id
}

resource "aws_security_group" "worker" {
  name        = "${var.name}-worker"
  description = "The worker, for nobody"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "load_balancer" {
  security_group_id = aws_security_group.load_balancer.id
  description       = "wss from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "load_balancer" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "to the gateway"
  referenced_security_group_id = aws_security_group.gateway.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  security_group_id            = aws_security_group.gateway.id
  description                  = "from the load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = local.gateway_port
  to_port                      = local.gateway_port
}

resource "aws_vpc_security_group_egress_rule" "task" {
  for_each = { gateway = aws_security_group.gateway.id, worker = aws_security_group.worker.id }

  security_group_id = each.value
  description       = "to AWS, the LLM and Redis, wherever they are"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}
