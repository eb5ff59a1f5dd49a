# The HTTP API: the routes of the stack, each with its function.

resource "aws_apigatewayv2_api" "http" {
  name          = var.name
  protocol_type = "HTTP"

  dynamic "cors_configuration" {
    for_each = length(var.web_origins) == 0 ? [] : [local.stack.cors]
    content {
      allow_origins  = var.web_origins
      allow_methods  = cors_configuration.value.methods
      allow_headers  = cors_configuration.value.headers
      expose_headers = cors_configuration.value.exposed_headers
      max_age        = cors_configuration.value.max_age_seconds
    }
  }
}

resource "aws_apigatewayv2_authorizer" "jwt" {
  count = var.jwt == null ? 0 : 1

  api_id           = aws_apigatewayv2_api.http.id
  name             = "jwt"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.jwt.issuer
    audience = [var.jwt.audience]
  }
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = local.stack.functions

  api_id                 = aws_apigatewayv2_api.http.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.function[each.key].invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "route" {
  for_each = local.stack.routes

  api_id    = aws_apigatewayv2_api.http.id
  route_key = each.key
  target    = "integrations/${aws_apigatewayv2_integration.function[each.value].id}"

  # Without the option the functions alone check the tokens. `health` tells a stranger the status and no more.
  authorization_type = var.jwt == null || each.value == "health" ? "NONE" : "JWT"
  authorizer_id      = var.jwt == null || each.value == "health" ? null : aws_apigatewayv2_authorizer.jwt[0].id
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.http.id
  name        = "$default"
  auto_deploy = true
}

resource "aws_lambda_permission" "http" {
  for_each = local.stack.functions

  statement_id  = "http-api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.function[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.http.execution_arn}/*"
}
