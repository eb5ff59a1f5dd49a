# What is refused, before anything is made.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b"] }
  }
}

variables {
  image           = "example.test/cloudia:1"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
  secrets         = { token-secret = "t", session-secret = "s" }
}

run "a_name" {
  command = plan
  variables {
    name = "My_Stack"
  }
  expect_failures = [var.name]
}

run "an_image_that_moves" {
  command = plan
  variables {
    image = "example.test/cloudia:latest"
  }
  expect_failures = [var.image]
}

run "no_certificate" {
  command = plan
  variables {
    certificate_arn = ""
  }
  expect_failures = [var.certificate_arn]
}

run "a_setting_that_is_none" {
  command = plan
  variables {
    settings = { "worker.speed" = "high" }
  }
  expect_failures = [var.settings]
}

run "a_secret_as_a_setting" {
  command = plan
  variables {
    settings = { "openai.api_key" = "x" }
  }
  expect_failures = [var.settings]
}

run "a_grace_that_fargate_cuts" {
  command = plan
  variables {
    settings = { "worker.grace_seconds" = "110" }
  }
  expect_failures = [var.settings]
}

run "a_limit_that_serverless_lacks" {
  command = plan
  variables {
    valkey   = "serverless"
    settings = { "limits.connections_per_user" = "5" }
  }
  expect_failures = [var.settings]
}

run "a_secret_that_is_none" {
  command = plan
  variables {
    secret_versions = { password = 1 }
  }
  expect_failures = [var.secret_versions]
}

run "a_secret_without_a_value" {
  command = plan
  variables {
    secrets = { token-secret = "t" }
  }
  expect_failures = [var.secret_versions]
}

run "an_origin_with_a_wildcard" {
  command = plan
  variables {
    web_origins = ["https://*.example.test"]
  }
  expect_failures = [var.web_origins]
}

run "a_budget_that_nobody_hears_of" {
  command = plan
  variables {
    budget_dollars = 10
  }
  expect_failures = [var.budget_dollars]
}

run "one_public_subnet" {
  command = plan
  variables {
    network = { vpc_id = "vpc-1", public_subnet_ids = ["subnet-1"], private_subnet_ids = ["subnet-3"] }
  }
  expect_failures = [var.network]
}

run "a_valkey_that_is_none" {
  command = plan
  variables {
    valkey = "cluster"
  }
  expect_failures = [var.valkey]
}
