# What `cloudia/stack.py` defines, as `cloudia build terraform` has written it, and what follows from it.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  stack  = jsondecode(templatefile("${path.module}/stack.json", { name = var.name }))
  region = data.aws_region.current.name

  parameters = merge(local.stack.parameters, {
    redis-url = { name = "/${var.name}/redis-url", description = "URL of Redis, with its password" }
  })

  # By part: what its role may do. The ARNs are written and not looked up, so a plan shows the policies.
  statements = {
    for part, each in merge(local.stack.functions, local.stack.services) : part => [
      for grant in each.grants : {
        Effect   = "Allow"
        Action   = grant.actions
        Resource = "arn:${data.aws_partition.current.partition}:${grant.service}:${local.region}:${data.aws_caller_identity.current.account_id}:${grant.resource}"
      }
    ]
  }

  # By kind of part: the variables that tell it the settings which it reads.
  told = merge(
    { "worker.grace_seconds" = "100" },
    length(var.web_origins) == 0 ? {} : { "gateway.origins" = join(",", var.web_origins) },
    var.jwt == null ? {} : {
      "auth.jwks_url" = var.jwt.jwks_url
      "auth.issuer"   = var.jwt.issuer
      "auth.audience" = var.jwt.audience
    },
    var.settings,
  )
  environment = {
    for part in ["functions", "worker", "gateway"] : part => merge(
      { CLOUDIA_STACK_NAME = var.name, CLOUDIA_AWS_REGION = local.region },
      {
        for key, value in local.told : local.stack.settings[key].variable => value
        if contains(local.stack.settings[key].parts, part)
      },
    )
  }
}
