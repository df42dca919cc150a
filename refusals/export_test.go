package refusals

// The record without its seal, for the fuzzer.
var (
	Decode   = decode
	Everyone = plainly
)

// Encode is the record of a refusal.
func Encode(r Refusal) []byte {
	var plain [plainLen]byte
	encode(&plain, r)
	return plain[:]
}
