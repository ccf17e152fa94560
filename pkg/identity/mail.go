package identity

// Mail is a plain-text message. Its text is a secret because it may carry the
// value of a pass; the subject never does.
type Mail struct {
	// From is the mailbox that sends: an address or user principal name.
	From string
	// To is one address, read from the directory or from configuration.
	To      string
	Subject string
	Text    Secret
}
