output "api_url" {
  description = "Where clients find the HTTP API."
  value       = aws_apigatewayv2_api.http.api_endpoint
}

output "load_balancer" {
  description = "Where the WebSocket's name is to lead: an alias record of Route 53 takes both."
  value       = { dns_name = aws_lb.websocket.dns_name, zone_id = aws_lb.websocket.zone_id }
}

output "stack" {
  description = "The names of what holds data, for `import` blocks."
  value = {
    dead_letters = local.dead_letters_queue
    jobs         = local.jobs_queue
    tables       = keys(local.stack.tables)
  }
}
