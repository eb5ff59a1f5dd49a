# Valkey, where events pass from worker to gateway. It is never the only place where something lives: no snapshots.

locals {
  valkey_own = var.valkey != "url"
  redis_url = (
    var.valkey == "url" ? null :
    var.valkey == "serverless" ? "rediss://${aws_elasticache_serverless_cache.valkey[0].endpoint[0].address}:6379" :
    "rediss://${aws_elasticache_replication_group.valkey[0].primary_endpoint_address}:6379"
  )
}

resource "aws_security_group" "valkey" {
  count = local.valkey_own ? 1 : 0

  name        = "${var.name}-valkey"
  description = "Valkey, for gateway and worker"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "valkey" {
  for_each = local.valkey_own ? { gateway = aws_security_group.gateway.id, worker = aws_security_group.worker.id } : {}

  security_group_id            = aws_security_group.valkey[0].id
  description                  = "from the ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
}

resource "aws_elasticache_subnet_group" "valkey" {
  count = contains(["node", "replicas"], var.valkey) ? 1 : 0

  name       = var.name
  subnet_ids = local.private_subnets
}

resource "aws_elasticache_replication_group" "valkey" {
  count = contains(["node", "replicas"], var.valkey) ? 1 : 0

  replication_group_id       = var.name
  description                = "Events of ${var.name}"
  engine                     = "valkey"
  engine_version             = "8.0"
  node_type                  = var.valkey_node_type # $7.50 to $9.40 a month each, by region and engine.
  num_cache_clusters         = var.valkey == "replicas" ? 2 : 1
  automatic_failover_enabled = var.valkey == "replicas"
  multi_az_enabled           = var.valkey == "replicas"
  subnet_group_name          = aws_elasticache_subnet_group.valkey[0].name
  security_group_ids         = [aws_security_group.valkey[0].id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  snapshot_retention_limit   = 0
}

resource "aws_elasticache_serverless_cache" "valkey" {
  count = var.valkey == "serverless" ? 1 : 0

  name                 = var.name
  engine               = "valkey"
  major_engine_version = "8"
  subnet_ids           = local.private_subnets
  security_group_ids   = [aws_security_group.valkey[0].id]

  cache_usage_limits {
    data_storage {
      maximum = 1
      unit    = "GB"
    }
    ecpu_per_second {
      maximum = 5000
    }
  }
}
