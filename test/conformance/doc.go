// Package conformance asserts over HTTP what the certification suite of the OpenID
// Foundation asserts: one subtest for each module of its plans, named as the suite
// names it. It holds only tests.
//
//	go test ./test/conformance -run 'TestBasic/oidcc-prompt-none-not-logged-in$'
//
// docs/conformance.md is the table of plans, modules and tests. table_test.go compares
// it with what is here, so neither can fall behind the other.
//
//	plans_test.go             the plans, and the modules of each
//	party_test.go             the relying party that the suite would be
//	id_token_test.go          what is true of every ID token
//	code_flow_test.go         responses, nonce, client authentication, code reuse, refresh
//	userinfo_test.go          the userinfo endpoint, scopes and claims
//	parameters_test.go        what a request may carry without harm, and what is refused
//	reauthentication_test.go  prompt, max_age, hints
//	discovery_test.go         metadata and keys
//	logout_test.go            RP-initiated and back-channel logout
//
// Modules are written from what the suite says that it checks. What it only warns of
// fails here.
package conformance
