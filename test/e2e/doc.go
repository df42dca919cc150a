// Package e2e tries the whole program: the real binary, started as its operators
// start it, over HTTP and on real databases. It holds only tests, and calls nothing
// of ours but storagetest, which lends the databases.
//
//	circle_test.go           foreign libraries obtain, renew and verify tokens; keys rotate under them
//	code_flow_test.go        a person signs in through them: authorization code, PKCE, OpenID Connect
//	openid_client_test.go    npm's openid-client does the same, where there is Node.js
//	code_race_test.go        a hundred at once show one code
//	guessing_test.go         a benchmark: ten thousand wrong passwords, and who notices
//	replicas_test.go         several programs on one PostgreSQL behave as one
//	crash_test.go            kill -9 between the commit and the answer, and what a restart keeps
//	outage_test.go           PostgreSQL stopped, killed and frozen
//	schema_test.go           migrations at once, schemas too old and too new
//	resource_server_test.go  examples/resource-server beside the real server
//	growth_test.go           what is at rest: one row a session, and nothing that signs in
//	drain_test.go            SIGTERM under load
//
// What the tests stand on: program_test.go builds and runs the binary, world_test.go is
// one database with the programs on it, http_test.go asks, person_test.go is somebody at
// a browser, proxy_test.go is a network that fails when told to.
//
// Every program's log is searched at its end for whatever secret it was given or
// gave (world.secret), for panics and for data races. Under -race the binary itself
// is built with the race detector.
//
// A wait has a condition; nothing sleeps and hopes.
package e2e
