// Package storagetest gives tests an empty store on every database.
//
//	storagetest.Each(t, func(t *testing.T, s *storage.Store) { … })
//
// runs the function twice, as subtests "sqlite" and "postgres", both parallel and
// each on a database of its own, so that no test sees what another one wrote.
// EachWith gives more: the clock, the address of the database, a second replica on
// it, and a Tally that counts round trips and breaks chosen statements. Database is the
// same database past the store.
//
// PostgreSQL is a throw-away server that the test process starts on its first use
// (Postgres), or one of its own for a test that stops, kills or freezes it
// (StartPostgres). Nothing has to be installed as a service, no port is fixed and
// no container runs. A small shell process watches over each server: it holds the
// reading end of a pipe, and when the test process goes, however it goes, it ends
// the server and removes its folder. So tests need no TestMain.
//
// The environment of the test process is read here and nowhere else:
//
//	PG_BIN                 the folder of initdb and postgres, instead of the newest installed
//	GRANTOR_TEST_REQUIRE   with "postgres" in it, missing binaries fail instead of skip
//	GRANTOR_TEST_TALLY     a file that gets one line, the database's name, per subtest of Each (Count)
//
// Only tests may import this package.
package storagetest
