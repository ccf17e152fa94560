# What is watched, who is told, and one page to look at. Every alarm says which part of
# the runbook helps; a test looks for it there.

variable "name" { type = string }

variable "functions" {
  description = "The functions, by their names in functions.json."
  type = map(object({
    function_name  = string
    log_group      = string
    failures_queue = string
    schedule       = optional(string)
    has_api        = bool
    api_id         = optional(string)
  }))
}

variable "key_arn" { type = string }
variable "account_id" { type = string }
variable "alarm_addresses" { type = list(string) }

locals {
  runbook   = "Runbook: infra/README.md#"
  namespace = "mfaflow" # pkg/wiring puts the metrics of the functions there

  # Of each function, what AWS measures it by.
  lambdas  = { for name, f in var.functions : name => f.function_name }
  failures = { for name, f in var.functions : name => f.failures_queue }
  apis     = { for name, f in var.functions : name => f.api_id if f.has_api }
  # Those that must run within a quarter of an hour.
  frequent = { for name, f in var.functions : name => f.function_name if can(regex("^rate\\([0-9]+ minutes?\\)$", f.schedule)) }
  hourly   = { for name, f in var.functions : name => f.function_name if f.schedule == "rate(1 hour)" }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = aws_sns_topic.alarms.arn
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = toset(var.alarm_addresses)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

locals {
  # What AWS itself counts: an alarm for each function in each row.
  counted = {
    "fails" = {
      of       = local.lambdas, namespace = "AWS/Lambda", metric = "Errors", dimension = "FunctionName", statistic = "Sum"
      operator = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, breaching = 1, missing = "notBreaching", anchor = "a-function-fails"
    }
    "is throttled" = {
      of       = local.lambdas, namespace = "AWS/Lambda", metric = "Throttles", dimension = "FunctionName", statistic = "Sum"
      operator = "GreaterThanThreshold", threshold = 5, period = 300, periods = 3, breaching = 2, missing = "notBreaching", anchor = "a-function-is-throttled"
    }
    "left something undone" = {
      of       = local.failures, namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimension = "QueueName", statistic = "Maximum"
      operator = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, breaching = 1, missing = "notBreaching", anchor = "something-was-left-undone"
    }
    # A schedule that was switched off makes no errors.
    "does not run" = {
      of       = local.frequent, namespace = "AWS/Lambda", metric = "Invocations", dimension = "FunctionName", statistic = "Sum"
      operator = "LessThanThreshold", threshold = 1, period = 900, periods = 1, breaching = 1, missing = "breaching", anchor = "a-function-does-not-run"
    }
    "does not run any more" = {
      of       = local.hourly, namespace = "AWS/Lambda", metric = "Invocations", dimension = "FunctionName", statistic = "Sum"
      operator = "LessThanThreshold", threshold = 1, period = 3600, periods = 3, breaching = 3, missing = "breaching", anchor = "a-function-does-not-run"
    }
    "answers 5xx" = {
      of       = local.apis, namespace = "AWS/ApiGateway", metric = "5xx", dimension = "ApiId", statistic = "Sum"
      operator = "GreaterThanThreshold", threshold = 0, period = 300, periods = 1, breaching = 1, missing = "notBreaching", anchor = "senders-are-turned-away"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "counted" {
  for_each = merge([for what, row in local.counted : { for name, id in row.of : "${name} ${what}" => merge(row, { id = id }) }]...)

  alarm_name          = "${var.name} ${each.key}"
  alarm_description   = "${local.runbook}${each.value.anchor}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = { (each.value.dimension) = each.value.id }
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.breaching
  threshold           = each.value.threshold
  comparison_operator = each.value.operator
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  # What only the log says.
  lines = {
    "the breaker tripped" = {
      function = "identity-worker", pattern = "{ $.msg = \"event\" && $.reason = \"breaker-tripped\" }", anchor = "the-breaker-tripped"
    }
    "a stream of signals stopped" = {
      function = "risk-signals", pattern = "{ ($.outcome = \"stream-paused\") || ($.outcome = \"stream-disabled\") }", anchor = "signals-are-silent"
    }
    "a polled stream of signals stopped" = {
      function = "tenant-sweep", pattern = "{ ($.outcome = \"stream-paused\") || ($.outcome = \"stream-disabled\") }", anchor = "signals-are-silent"
    }
  }

  # What the functions measure. Metrics Insights finds a metric whatever its dimensions are.
  measured = {
    "a subscription is about to lapse" = {
      query = "SELECT MIN(\"SubscriptionLeft\") FROM \"mfaflow\"", operator = "LessThanThreshold", threshold = 172800, anchor = "a-subscription-is-about-to-lapse"
    }
    "changes of accounts were missed" = {
      query = "SELECT MAX(\"ChangesGap\") FROM \"mfaflow\"", operator = "GreaterThanThreshold", threshold = 0, anchor = "signals-are-silent"
    }
    "messages wait in a queue" = {
      query = "SELECT MAX(\"Waited\") FROM \"mfaflow\"", operator = "GreaterThanThreshold", threshold = 900, anchor = "messages-wait-too-long"
    }
    "notifications were not ours" = {
      query = "SELECT SUM(\"Dropped\") FROM \"mfaflow\"", operator = "GreaterThanThreshold", threshold = 50, anchor = "notifications-are-dropped"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local.lines

  name           = each.key
  log_group_name = var.functions[each.value.function].log_group
  pattern        = each.value.pattern

  metric_transformation {
    namespace = "${local.namespace}/log"
    name      = each.key
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "lines" {
  for_each = local.lines

  alarm_name          = "${var.name}: ${each.key}"
  alarm_description   = "${local.runbook}${each.value.anchor}"
  namespace           = aws_cloudwatch_log_metric_filter.this[each.key].metric_transformation[0].namespace
  metric_name         = each.key
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "measured" {
  for_each = local.measured

  alarm_name          = "${var.name}: ${each.key}"
  alarm_description   = "${local.runbook}${each.value.anchor}"
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = each.value.operator
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "q"
    expression  = each.value.query
    period      = 900
    return_data = true
  }
}

locals {
  graphs = [
    { title = "Deliveries by outcome", query = "SELECT SUM(\"Deliveries\") FROM \"mfaflow\" GROUP BY \"outcome\"" },
    { title = "Events by outcome", query = "SELECT SUM(\"Events\") FROM \"mfaflow\" GROUP BY \"outcome\"" },
    { title = "Age of events when they were handled", query = "SELECT MAX(\"Age\") FROM \"mfaflow\" GROUP BY \"queue\"" },
    { title = "Seconds that messages lay in a queue until they were taken", query = "SELECT MAX(\"Waited\") FROM \"mfaflow\" GROUP BY \"queue\"" },
    { title = "Events that wait for an operator, by reason", query = "SELECT SUM(\"Holds\") FROM \"mfaflow\" GROUP BY \"reason\"" },
    { title = "Dead letters by reason", query = "SELECT SUM(\"DeadLetters\") FROM \"mfaflow\" GROUP BY \"reason\"" },
    { title = "Seconds from asking for a pass to its delivery", query = "SELECT MAX(\"PassDelivery\") FROM \"mfaflow\" GROUP BY \"source\"" },
    { title = "Answers of Microsoft Graph", query = "SELECT SUM(\"GraphCalls\") FROM \"mfaflow\" GROUP BY \"outcome\"" },
    { title = "Flags told", query = "SELECT SUM(\"Notifications\") FROM \"mfaflow\" GROUP BY \"outcome\"" },
    { title = "What streams say of themselves", query = "SELECT SUM(\"StreamSignals\") FROM \"mfaflow\" GROUP BY \"outcome\"" },
    { title = "Seconds that subscriptions have left", query = "SELECT MIN(\"SubscriptionLeft\") FROM \"mfaflow\" GROUP BY \"source\"" },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = concat(
      [for i, w in local.graphs : {
        type       = "metric", x = (i % 2) * 12, y = floor(i / 2) * 6, width = 12, height = 6
        properties = { title = w.title, view = "timeSeries", region = var.region, period = 300, metrics = [[{ expression = w.query, id = "q" }]] }
      }],
      [for i, name in sort(keys(var.functions)) : {
        type = "metric", x = (i % 3) * 8, y = 6 * ceil(length(local.graphs) / 2) + floor(i / 3) * 6, width = 8, height = 6
        properties = {
          title = name, view = "timeSeries", region = var.region, stat = "Sum", period = 300
          metrics = [
            for m in ["Invocations", "Errors", "Throttles"] : ["AWS/Lambda", m, "FunctionName", var.functions[name].function_name]
          ]
        }
      }],
    )
  })
}

variable "region" { type = string }

output "topic_arn" {
  value = aws_sns_topic.alarms.arn
}
