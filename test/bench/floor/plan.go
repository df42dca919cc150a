package main

// plan is what package bench writes to our standard input (its floor.go has the same type).
type plan struct {
	Database   string // with its pool's size; "" = none
	PublicKey  []byte // of the signing key of the access tokens that are shown
	BoxKey     []byte // of the opaque ones
	Operations []operation
}

// operation is one path.
type operation struct {
	Name     string
	Method   string
	ClientID string // "" = no client authentication
	Secret   []byte // SHA-256
	State    string // rotate, redeem, access, revoke, deny; prove = a token and no statement; "" = nothing
	SQL      string
	Extra    []string // arguments of the statement behind those that a request brings
	Header   [][2]string
	Body     []part
	Refusal  string // the body for a token that is dead
}

// part is a piece of the answer: text as it is, a JWS whose signing input is the text,
// the text sealed, or the next refresh token.
type part struct{ Kind, Text string }
