# The stack on AWS, with a name of your own. README.md says how it is applied.

provider "aws" {
  region = var.region

  default_tags {
    tags = { stack = var.name }
  }
}

module "cloudia" {
  source = "../../deploy/terraform"

  name            = var.name
  functions_dir   = var.functions_dir
  image           = var.image
  certificate_arn = aws_acm_certificate_validation.websocket.certificate_arn
  secrets         = var.secrets
  secret_versions = var.secret_versions
  web_origins     = var.web_origins
  alarm_email     = var.alarm_email
  budget_dollars  = 100

  deletion_protection = var.deletion_protection

  settings = {
    "llm.provider"                = "anthropic"
    "limits.user_dollars_per_day" = "1"
  }
}

output "api_url" {
  value = module.cloudia.api_url
}

output "websocket_url" {
  value = "wss://${var.domain}"
}
