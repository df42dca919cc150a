// Package servertest runs a real server for tests: server.New over a store of
// storagetest, behind a listener, with clients, users and a clock that only the test
// moves.
//
//	servertest.Each(t, servertest.Setup{}, func(t *testing.T, w *servertest.World) {
//		login := w.Login("c1", "alice")
//		w.Refresh("c1", login.Refresh()).Require(200)
//	})
//
// world.go makes the server, people.go who is registered with it, request.go sends
// and asks, answer.go looks at every answer.
//
// It promises that no answer passes unseen: each is held against the rules that
// attacks have in common (a status below 500 unless the test breaks something, JSON
// and no-store for what must not be kept, a registered error code, a description of
// RFC 6749's characters, WWW-Authenticate on each 401), and when the test ends, no
// secret, password or token that any request or answer carried may stand in the log,
// which is written at debug level.
//
// Only tests may import this package.
package servertest
