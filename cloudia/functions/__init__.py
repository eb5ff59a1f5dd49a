"""The functions: Lambda handlers of the HTTP API, one a file, each a plain `handler(event, context)`.

They speak API Gateway's payload format 2.0:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""
