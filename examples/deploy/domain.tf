# The WebSocket's name and its certificate, which renews itself.

resource "aws_acm_certificate" "websocket" {
  domain_name       = var.domain
  validation_method = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "proof" {
  for_each = {
    for each in aws_acm_certificate.websocket.domain_validation_options : each.domain_name => each
  }

  zone_id = var.zone_id
  name    = each.value.resource_record_name
  type    = each.value.resource_record_type
  records = [each.value.resource_record_value]
  ttl     = 300
}

resource "aws_acm_certificate_validation" "websocket" {
  certificate_arn         = aws_acm_certificate.websocket.arn
  validation_record_fqdns = [for record in aws_route53_record.proof : record.fqdn]
}

resource "aws_route53_record" "websocket" {
  zone_id = var.zone_id
  name    = var.domain
  type    = "A"

  alias {
    name                   = module.cloudia.load_balancer.dns_name
    zone_id                = module.cloudia.load_balancer.zone_id
    evaluate_target_health = false
  }
}
