# The functions behind the HTTP API, each with its zip, its role and its log. They stand outside the network: they need none.

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.stack.functions

  name              = "/aws/lambda/${each.value.name}"
  retention_in_days = local.stack.log_retention_days
}

resource "aws_iam_role" "function" {
  for_each = local.stack.functions

  name = each.value.name
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = local.stack.functions

  name = "grants"
  role = aws_iam_role.function[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.statements[each.key], [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.function[each.key].arn}:*"
    }])
  })
}

resource "aws_lambda_function" "function" {
  for_each = local.stack.functions

  function_name    = each.value.name
  role             = aws_iam_role.function[each.key].arn
  runtime          = local.stack.runtime
  architectures    = ["arm64"] # A fifth cheaper; the zips are Python alone.
  handler          = each.value.handler
  filename         = "${var.functions_dir}/${each.key}.zip"
  source_code_hash = filebase64sha256("${var.functions_dir}/${each.key}.zip")
  memory_size      = each.value.memory_mb
  timeout          = each.value.timeout_seconds
  layers           = var.jwt == null ? [] : [var.jwt.layer_arn]

  environment {
    variables = local.environment.functions
  }

  # Lambda would make a log group of its own, which is kept for ever.
  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}
