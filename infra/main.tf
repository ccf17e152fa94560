# What runs, and what it may do, is in functions.json; this file only puts it together.

locals {
  catalogue = jsondecode(file("${path.module}/functions.json"))
  functions = local.catalogue.functions
  tags      = merge(var.tags, { application = var.name })

  # Go and AWS have a name each for one of the architectures.
  packages = coalesce(var.packages, "${path.module}/../dist/package/${var.architecture == "x86_64" ? "amd64" : "arm64"}")

  # The drains of lanes run side by side; everything else is as in the catalogue.
  concurrency = {
    for name, f in local.functions : name => contains(["identity-router", "identity-worker"], name) ? f.concurrency * var.workers : f.concurrency
  }

  # All processes that ask Graph share its limits evenly.
  graph_workers = sum([for name, f in local.functions : local.concurrency[name] if length(f.graph) + length(f.exchange) > 0])

  has_secrets = { for name, f in local.functions : name => length(f.secrets) > 0 || contains(keys(var.client_certificates), name) }

  environment = {
    for name, f in local.functions : name => merge(
      {
        # The runtime is told of the sandbox's memory nowhere else; what is left is for
        # the program and its stacks.
        GOMEMLIMIT                   = "${floor(f.memory * 0.85)}MiB"
        MFAFLOW_SERVICEBUS_NAMESPACE = module.servicebus.host
        MFAFLOW_TENANT_ID            = var.tenant_id
        MFAFLOW_CLIENT_ID            = module.entra[name].client_id
      },
      contains(keys(var.client_certificates), name) ? {} : { MFAFLOW_WEB_IDENTITY = "true" },
      { for q in setunion(f.reads, f.writes) : "MFAFLOW_${upper(q)}_QUEUE" => q },
      length(f.graph) + length(f.exchange) > 0 ? { MFAFLOW_GRAPH_WORKERS = tostring(local.graph_workers) } : {},
      f.files ? { MFAFLOW_REPORTS_URL = "s3://${aws_s3_bucket.files.bucket}/${name}" } : {},
      name == "tenant-sweep" ? { MFAFLOW_NOTIFICATION_URL = aws_apigatewayv2_api.function["graph-notifications"].api_endpoint } : {},
      name == "event-replay" && length(var.operator_roles) > 0 ? { MFAFLOW_OPERATOR_ROLES = join(",", var.operator_roles) } : {},
      name == "event-replay" && var.operators != null ? { MFAFLOW_NAMED_OPERATORS = module.operators[0].named } : {},
      lookup(var.settings, "all", {}),
      lookup(var.settings, name, {}),
    )
  }
}

module "servicebus" {
  source = "./modules/servicebus"

  name      = var.name
  namespace = var.namespace
  location  = var.location
  queues    = local.catalogue.queues
  receivers = { for name, f in local.functions : name => f.reads }
  senders   = { for name, f in local.functions : name => f.writes }
  principals = {
    for name in keys(local.functions) : name => module.entra[name].service_principal_id
  }
  alarm_addresses = var.alarm_addresses
  locked          = var.locked
  tags            = local.tags
}

module "entra" {
  source   = "./modules/entra"
  for_each = local.functions

  name        = "${var.name}-${each.key}"
  issuer      = local.issuer
  subject     = aws_iam_role.function[each.key].arn
  graph       = each.value.graph
  certificate = lookup(var.client_certificates, each.key, null)
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name         = "${var.name}-${each.key}"
  function     = each.value
  concurrency  = local.concurrency[each.key]
  paused       = var.paused
  role         = aws_iam_role.function[each.key]
  package      = "${local.packages}/${each.key}.zip"
  architecture = var.architecture
  environment  = local.environment[each.key]
  has_secrets  = local.has_secrets[each.key]
  federated    = !contains(keys(var.client_certificates), each.key)
  api          = lookup(aws_apigatewayv2_api.function, each.key, null)
  bus          = try(each.value.trigger.events, false) ? var.hr_bus : null
  files        = each.value.files ? { bucket_arn = aws_s3_bucket.files.arn, prefix = each.key } : null
  key_arn      = aws_kms_key.this.arn
  log_days     = var.log_days
}

module "operators" {
  source = "./modules/operators"
  count  = var.operators == null ? 0 : 1

  name                = "${var.name}-operators"
  issuer              = var.operators.issuer
  client_id           = var.operators.client_id
  people              = var.operators.people
  session_hours       = var.operators.session_hours
  existing_issuer_arn = var.operators.existing_issuer_arn
  function_arn        = local.event_replay_arn
}

module "observability" {
  source = "./modules/observability"

  name       = var.name
  region     = var.region
  account_id = var.account_id
  functions = {
    for name, f in module.function : name => {
      function_name  = f.function_name
      log_group      = f.log_group
      failures_queue = f.failures_queue
      schedule       = try(local.functions[name].trigger.schedule, null)
      has_api        = can(local.functions[name].trigger.http)
      api_id         = try(aws_apigatewayv2_api.function[name].id, null)
    }
  }
  key_arn         = aws_kms_key.this.arn
  alarm_addresses = var.alarm_addresses
}

# The HTTP APIs are made here and not with their functions: tenant-sweep must know the
# address of graph-notifications. A function has one of its own, so that a flood at one
# leaves the others their share.
resource "aws_apigatewayv2_api" "function" {
  for_each = { for name, f in local.functions : name => f if can(f.trigger.http) }

  name          = "${var.name}-${each.key}"
  protocol_type = "HTTP"
  description   = "Signed webhooks of ${each.key}"
}

# The role is what the app registration trusts, so both need it before the function is.
resource "aws_iam_role" "function" {
  for_each = local.functions

  name                 = "${var.name}-${each.key}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

# AWS signs tokens that say which role asks: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound.html
resource "aws_iam_outbound_web_identity_federation" "this" {
  count = var.federation_exists ? 0 : 1
}

data "aws_iam_outbound_web_identity_federation" "this" {
  count = var.federation_exists ? 1 : 0
}

locals {
  issuer = var.federation_exists ? data.aws_iam_outbound_web_identity_federation.this[0].issuer_identifier : aws_iam_outbound_web_identity_federation.this[0].issuer_identifier

  # Written out, because the function's settings name the operators' role, whose policy
  # names the function.
  event_replay_arn = "arn:${data.aws_partition.current.partition}:lambda:${var.region}:${var.account_id}:function:${var.name}-event-replay"
}

data "aws_partition" "current" {}
