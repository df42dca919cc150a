package storagetest

import "testing"

// SQLite is EachWith on SQLite alone, without a subtest: for what is above the store
// and can not depend on the database. It is not counted among the tests of databases.
func SQLite(t testing.TB, setup Setup) *Env {
	t.Helper()
	e := &Env{t: t, setup: setup, Dialect: "sqlite", Clock: NewClock(), Tally: &Tally{}}
	e.prepare()
	e.Store = e.Open()
	return e
}
