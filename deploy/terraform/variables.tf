# What a deployment may say. The defaults cost least.

variable "name" {
  description = "Name of the stack; every resource bears it, so that several share an account."
  type        = string
  default     = "cloudia"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.name)) && length(var.name) <= 24
    error_message = "The name has at most 24 lower-case letters, digits and single hyphens, and begins with a letter."
  }
}

variable "functions_dir" {
  description = "The folder with the functions' zips, from `cloudia build functions`."
  type        = string

  validation {
    condition     = fileexists("${var.functions_dir}/post_message.zip")
    error_message = "There are no functions' zips in functions_dir; make them with `cloudia build functions`."
  }
}

variable "image" {
  description = "The image of worker and gateway, by tag or digest. It runs `python -m cloudia.worker` and `python -m cloudia.gateway` on arm64."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-zA-Z0-9./_:-]*(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "The image is named by a tag other than latest, or by its digest, so that a deployment is the same tomorrow."
  }
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate of the WebSocket's name. Tokens travel there, so there is no listener without TLS."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "The certificate_arn is not the ARN of a certificate of ACM."
  }
}

# Secrets ---------------------------------------------------------------------------------------------------------------

variable "secrets" {
  description = "Values by parameter: token-secret, session-secret, anthropic-api-key, and so on. They reach Parameter Store and no state."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}

variable "secret_versions" {
  description = "Which secrets Terraform writes; a higher number writes the value anew. One that is not named here is somebody else's to write, and stays as it is."
  type        = map(number)
  default     = { token-secret = 1, session-secret = 1 }

  validation {
    condition     = alltrue([for key, _ in var.secret_versions : length(lookup(var.secrets, key, "")) > 0])
    error_message = "A secret that secret_versions names has no value in secrets; give it as TF_VAR_secrets, a JSON object."
  }
  validation {
    condition     = alltrue([for key, _ in var.secret_versions : contains(keys(local.parameters), key)])
    error_message = "secret_versions names a secret that the stack does not have; stack.json lists them, and redis-url."
  }
  validation {
    condition     = alltrue([for _, version in var.secret_versions : version >= 1 && floor(version) == version])
    error_message = "A secret's version is a whole number from 1 on."
  }
}

# Settings --------------------------------------------------------------------------------------------------------------

variable "settings" {
  description = "Settings of cloudia by name, such as { \"llm.provider\" = \"openai\" }. Each part is told those that it reads."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, _ in var.settings : contains(keys(local.stack.settings), key)])
    error_message = "A setting is not one that a part reads, is a secret (see secrets), or is the module's own to say; stack.json lists those that are."
  }
  validation {
    condition     = tonumber(lookup(var.settings, "worker.grace_seconds", "100")) <= 105
    error_message = "The worker.grace_seconds are at most 105: Fargate kills a task 120 s after SIGTERM, and handing back what is left takes up to 15."
  }
  validation {
    condition     = !(var.valkey == "serverless" && lookup(var.settings, "limits.connections_per_user", "0") != "0")
    error_message = "limits.connections_per_user needs a Valkey that is not serverless: it counts in a script over keys of two slots."
  }
}

variable "web_origins" {
  description = "Origins of the web pages that may use the HTTP API and the gateway, such as https://chat.example.com."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.web_origins : can(regex("^https?://[^/*]+$", origin))])
    error_message = "A web origin is a scheme and a host without a path, such as https://chat.example.com; a wildcard is none."
  }
}

variable "jwt" {
  description = "Tokens of an identity provider in place of the stack's own: API Gateway checks them, and so do the parts. layer_arn is the Lambda layer with cryptography, for arm64."
  type        = object({ issuer = string, audience = string, jwks_url = string, layer_arn = string })
  default     = null
}

# Worker and gateway ----------------------------------------------------------------------------------------------------

variable "workers" {
  description = "Tasks of the worker. One holds 256 answers at once."
  type        = number
  default     = 1

  validation {
    condition     = var.workers >= 0 && var.workers <= 100
    error_message = "There are 0 to 100 workers."
  }
}

variable "worker_spot" {
  description = "Whether workers run on Fargate Spot, at about a third of the price: a message whose worker is taken away is answered by the next."
  type        = bool
  default     = true
}

variable "worker_size" {
  description = "CPU units and MiB of a worker's task."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }
}

variable "gateways" {
  description = "Tasks of the gateway. One bears 10,000 connections by default; two bear the loss of one."
  type        = number
  default     = 1

  validation {
    condition     = var.gateways >= 1 && var.gateways <= 100
    error_message = "There are 1 to 100 gateways."
  }
}

variable "gateway_size" {
  description = "CPU units and MiB of a gateway's task."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 256, memory = 512 }
}

# Valkey and network ----------------------------------------------------------------------------------------------------

variable "valkey" {
  description = "Where events pass: node (one, the cheapest), replicas (two, with failover), serverless, or url (your own: the secret redis-url)."
  type        = string
  default     = "node"

  validation {
    condition     = contains(["node", "replicas", "serverless", "url"], var.valkey)
    error_message = "valkey is node, replicas, serverless or url."
  }
}

variable "valkey_node_type" {
  description = "Type of a node of Valkey."
  type        = string
  default     = "cache.t4g.micro"
}

variable "network" {
  description = "Your own network; null makes a small one with public subnets and no NAT. The private subnets need a way to AWS, the LLM and the image."
  type        = object({ vpc_id = string, public_subnet_ids = list(string), private_subnet_ids = list(string) })
  default     = null

  validation {
    condition     = var.network == null ? true : length(var.network.public_subnet_ids) >= 2 && length(var.network.private_subnet_ids) >= 1
    error_message = "A network has two public subnets or more, as a load balancer asks for, and a private one."
  }
}

# Watching --------------------------------------------------------------------------------------------------------------

variable "alarm_email" {
  description = "Who is told of alarms and of the budget; empty is nobody."
  type        = string
  default     = ""
}

variable "budget_dollars" {
  description = "Monthly budget of the account in US dollars; alarm_email is told at 80 % and 100 %. 0 is none."
  type        = number
  default     = 0

  validation {
    condition     = var.budget_dollars >= 0 && (var.budget_dollars == 0 || var.alarm_email != "")
    error_message = "A budget is no less than 0 dollars, and needs an alarm_email to be told of it."
  }
}

variable "deletion_protection" {
  description = "Whether tables and load balancer refuse to be deleted. Apply with false before `terraform destroy`."
  type        = bool
  default     = true
}
