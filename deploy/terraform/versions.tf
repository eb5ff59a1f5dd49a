terraform {
  required_version = ">= 1.11" # Write-only arguments, so that no secret is in a state or a plan.

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
