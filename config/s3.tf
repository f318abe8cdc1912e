# The same as `pawtag s3 setup` creates, for Terraform. Change the bucket's name. pawtag's tests do not apply this file.
variable "bucket" {
  default = "pets"
}

data "aws_caller_identity" "me" {}

resource "aws_sqs_queue" "dead" {
  name                      = "pawtag-${var.bucket}-dead"
  message_retention_seconds = 1209600
}

resource "aws_sqs_queue" "photos" {
  name                       = "pawtag-${var.bucket}"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 60
  redrive_policy             = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 50 })
}

resource "aws_sqs_queue_policy" "bucket_may_send" {
  queue_url = aws_sqs_queue.photos.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.photos.arn
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::${var.bucket}" }
        StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.me.account_id }
      }
    }]
  })
}

# Terraform owns a bucket's whole notification: other rules belong in here too.
resource "aws_s3_bucket_notification" "uploads" {
  bucket     = var.bucket
  depends_on = [aws_sqs_queue_policy.bucket_may_send]
  queue {
    id        = "pawtag"
    queue_arn = aws_sqs_queue.photos.arn
    events    = ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"]
  }
}
