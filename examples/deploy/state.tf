# The state is in a bucket that is yours already, named when it is begun:
#   terraform init -backend-config=bucket=BUCKET -backend-config=region=REGION -backend-config=key=cloudia.tfstate

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}
