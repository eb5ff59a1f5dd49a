variable "name" {
  type    = string
  default = "cloudia"
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "functions_dir" {
  description = "Where `cloudia build functions` has put the zips."
  type        = string
  default     = "dist/functions"
}

variable "image" {
  type = string
}

variable "domain" {
  description = "Name of the WebSocket, such as chat.example.com."
  type        = string
}

variable "zone_id" {
  description = "The zone of Route 53 that the name is in."
  type        = string
}

variable "web_origins" {
  type    = list(string)
  default = []
}

variable "alarm_email" {
  type = string
}

variable "secrets" {
  description = "From the environment: TF_VAR_secrets, a JSON object. No file has them."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}

variable "secret_versions" {
  type    = map(number)
  default = { token-secret = 1, session-secret = 1, anthropic-api-key = 1 }
}

variable "adopt" {
  description = "Whether to take over what `cloudia provision` has made under this name. Set it for one apply."
  type        = bool
  default     = false
}

variable "deletion_protection" {
  description = "Apply with false before `terraform destroy`."
  type        = bool
  default     = true
}
