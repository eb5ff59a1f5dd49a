# Secrets. Their values are write-only: Terraform sends them and keeps none. An import would read them into the state, so
# what is in Parameter Store already is left there: leave its name out of `secret_versions`.

resource "aws_ssm_parameter" "secret" {
  for_each = var.secret_versions

  name             = local.parameters[each.key].name
  description      = local.parameters[each.key].description
  type             = "SecureString"
  value_wo         = var.secrets[each.key]
  value_wo_version = each.value
}
