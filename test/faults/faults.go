//go:build linux

package main

import (
	"context"
	"time"
)

// fault is what goes wrong, while what runs, and how it is known that the checker
// would notice.
type fault struct {
	name  string
	ids   string // in attacks.md section 18
	about string // for docs/reliability.md

	replicas     int
	applications int
	habits       habits
	settings     []string // of the program: GRANTOR_ variables without the prefix
	linked       bool     // the replicas reach PostgreSQL through a link
	sqlite       bool
	own          bool          // PostgreSQL is the stage's own
	room         string        // of a file system that holds the database alone: "64m"; "": it is where all is
	calm         bool          // clients pause between requests
	clocked      bool          // the clocks of the replicas can be set wrong
	skewed       bool          // see rules
	rounds       int           // in a whole run, at least
	storm        time.Duration // see rules

	window   time.Duration // the retry window
	heal     time.Duration // in which all serve again
	late     time.Duration // an answer that takes longer is none; 0: tooLate
	stopped  bool          // replicas stop, so some requests get no answer in time
	flawless bool          // no request may fail at all
	planned  bool          // it counts for -restarts and -requests
	counted  bool          // its renewals count for -acknowledged

	every    [2]time.Duration                    // the pause before each injection
	before   func(context.Context, *stage) error // the replicas start
	inject   func(context.Context, *stage) error
	controls []*control
}

func (f *fault) rules(slack int) rules {
	return rules{window: f.window, heal: f.heal * time.Duration(slack), late: max(f.late, tooLate) * time.Duration(slack), clocked: f.clocked, skewed: f.skewed, storm: f.storm * time.Duration(slack), stopped: f.stopped, flawless: f.flawless}
}

// mixed is what most stages are loaded with.
var mixed = habits{introspect: 12, twice: 15, revoke: 120, replay: 150, leave: 60}

const (
	// An outage that lasts longer than the retry window ends the sessions whose last
	// answer it swallowed: the default of 10 s is for the short ones.
	defaultWindow = 10 * time.Second
	longWindow    = 60 * time.Second
)

// faults in the order in which they are played.
func faults() []*fault {
	list := []*fault{
		{
			name: "replica-killed", ids: "F-01", about: "kill -9 of a replica amid renewals, and a new start",
			replicas: 3, counted: true, heal: time.Second, every: [2]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond},
			inject: killReplica, controls: []*control{uncommit, falseRefusal},
		},
		{
			name: "death-between", ids: "F-02", about: "kill -9 of a replica when its statements are on the way, or committed and their answers on the way: they are held until it is dead",
			replicas: 3, linked: true, counted: true, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: killBetween, controls: []*control{uncommit},
		},
		{
			name: "postgres-crash", ids: "F-03", about: "SIGKILL of PostgreSQL's whole process tree, and a new start after up to a second",
			counted: true, every: [2]time.Duration{1500 * time.Millisecond, 3 * time.Second},
			inject: crashPostgres, controls: []*control{uncommit, revive, again},
		},
		{
			name: "postgres-restart", ids: "F-04", about: "shutdown of PostgreSQL, smart, fast or immediate, and a new start",
			counted: true, every: [2]time.Duration{1500 * time.Millisecond, 3 * time.Second},
			inject: restartPostgres, controls: []*control{falseRefusal, plainError},
		},
		{
			name: "postgres-frozen", ids: "F-08", about: "SIGSTOP of PostgreSQL's whole process tree for 0.5 to 5 s: connections stay open, nobody answers",
			settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: freezePostgres, controls: []*control{falseRefusal},
		},
		{
			name: "commit-unknown", ids: "F-06", about: "the network drops the answer to one write in four, whole or torn, and its connection, when PostgreSQL has committed",
			linked: true, every: [2]time.Duration{100 * time.Millisecond, 600 * time.Millisecond},
			inject: cutAnswers, controls: []*control{falseRefusal, stale},
		},
		{
			name: "network-slow", ids: "F-09", about: "every answer of PostgreSQL comes 2 or 0.5 s late, in turn, for 1 to 3 s",
			linked: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			late:   12 * time.Second, // a sign-in is four statements, each with a deadline of its own
			inject: delayAnswers, controls: []*control{falseSuccess},
		},
		{
			name: "rows-locked", ids: "F-09", about: "another transaction holds eight sessions' rows, or the whole table, for 0.5 to 3 s",
			settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: lockRows, controls: []*control{plainError},
		},
		{
			name: "connections-taken", ids: "F-10", about: "all of PostgreSQL's connections are taken by others for 0.5 to 2 s, the replicas' too; their pools hold one",
			settings: []string{"DATABASE_CONNECTIONS=1"}, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: takeConnections, controls: []*control{falseRefusal},
		},
		{
			name: "database-read-only", ids: "F-13", about: "new sessions of the database are read-only, and the old ones are ended, for 0.5 to 2 s",
			every: [2]time.Duration{time.Second, 2 * time.Second}, inject: forbidWrites, controls: []*control{falseSuccess},
		},
		{
			name: "database-refuses", ids: "F-07", about: "PostgreSQL refuses connections for up to 30 s; health, metadata and keys are asked for on every replica meanwhile",
			linked: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: refuseConnections, controls: []*control{falseRefusal},
		},
		{
			name: "statements-refused", ids: "F-13", about: "one statement in three is answered with an SQLSTATE of the classes 08, 53 and 57, or 25006, one code after the other, for 0.1 to 0.4 s each",
			linked: true, every: [2]time.Duration{50 * time.Millisecond, 300 * time.Millisecond},
			inject: refuseStatements(farewells(), shortcomings()), controls: []*control{falseRefusal, falseSuccess},
		},
		{
			name: "statements-rolled-back", ids: "F-12", about: "one statement in four is answered with 40001 or 40P01 all the time; no request may fail",
			linked: true, flawless: true, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond},
			inject: rollBack, controls: []*control{stale},
		},
		{
			name: "serializable", ids: "F-12", about: "every transaction is SERIALIZABLE, two tabs often share a token, and another program touches the same rows",
			habits: habits{introspect: 20, twice: 3, revoke: 120, replay: 150, leave: 60}, every: [2]time.Duration{20 * time.Millisecond, 60 * time.Millisecond},
			before: serializable, inject: touchRows, controls: []*control{forked},
		},
		{
			name: "races", ids: "F-16", about: "one session is renewed, introspected and revoked by six at once",
			applications: 4, calm: true, rounds: 2000, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond},
			inject: race, controls: []*control{cached, revive},
		},
		{
			name: "refresh-races", ids: "F-14", about: "one refresh token is shown by 2, 8 or 50 at once, over both replicas",
			applications: 4, calm: true, rounds: 2000, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond},
			inject: raceRenewals, controls: []*control{forked},
		},
		{
			name: "code-races", ids: "F-15", about: "one code is redeemed by 2, 8 or 50 at once, over both replicas",
			applications: 4, calm: true, rounds: 2000, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond},
			inject: raceCode, controls: []*control{again},
		},
		{
			name: "accounts-ended", ids: "F-17", about: "a user is disabled or deleted, or a client deleted, by the command line, while four sign in as them, renew and look",
			applications: 8, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond},
			inject: endAccount, controls: []*control{revive, cached},
		},
		{
			name: "clock-skewed", ids: "F-18", about: "the clock of one of two replicas is 2 or 5 s ahead or behind for 1 to 2 s: within the retry window",
			clocked: true, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: stepClock(2*time.Second, 5*time.Second), controls: []*control{uncommit, revive},
		},
		{
			name: "clock-jumps", ids: "F-18", about: "the clock of one of two replicas is 30 s or an hour ahead or behind for 1 to 2 s; nobody shows a token or a code twice",
			clocked: true, skewed: true, habits: habits{introspect: 12, revoke: 120, replay: 150, leave: 60}, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: stepClock(30*time.Second, time.Hour), controls: []*control{uncommit, revive},
		},
		{
			name: "migrations", ids: "F-20", about: "three processes migrate an empty database at once, one of them is killed on its way, and the schema that comes out is compared",
			applications: 4, calm: true, every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond}, inject: migrateAtOnce, controls: []*control{halfDone},
		},
		{
			name: "upgrade", ids: "F-20, F-21", about: "the schema of a later version under load, a column, an index and a table more, and then SIGTERM to one replica of this version after the other, which start again on it; no request may fail",
			flawless: true, heal: 3 * time.Second, settings: []string{"DRAIN_TIMEOUT=10s"}, every: [2]time.Duration{100 * time.Millisecond, 500 * time.Millisecond},
			inject: upgrade, controls: []*control{barred},
		},
		{
			name: "login-storm", ids: "F-23", about: "200 sign-ins a second for 3 s, with hashes as in production",
			applications: 16, calm: true, settings: []string{"PASSWORD_MEMORY=19456", "PASSWORD_TIME=2", "PASSWORD_QUEUE=0"}, storm: 50 * time.Millisecond,
			every: [2]time.Duration{time.Millisecond, 2 * time.Millisecond}, inject: storm, controls: []*control{plainError},
		},
		{
			name: "cleaning", ids: "F-27", about: "three replicas that clean every second find 3,000 sessions that are long over, and every other time one of them is killed",
			replicas: 3, settings: []string{"HOUSEKEEPING_INTERVAL=1s"}, every: [2]time.Duration{10 * time.Millisecond, 100 * time.Millisecond},
			inject: expire, controls: []*control{kept, uncommit},
		},
		{
			name: "key-rotation", ids: "F-19", about: "grantor key rotate every two seconds; each access token is held against the keys that some replica publishes",
			habits: habits{introspect: 12, verify: 3, revoke: 120, leave: 60}, every: [2]time.Duration{2 * time.Second, 2100 * time.Millisecond},
			inject: rotateKeys, controls: []*control{fewKeys},
		},
		{
			name: "rolling-restart", ids: "F-21", about: "SIGTERM to one replica after the other, each started again before the next; no request may fail",
			flawless: true, planned: true, heal: 3 * time.Second, settings: []string{"DRAIN_TIMEOUT=10s"}, every: [2]time.Duration{time.Millisecond, 10 * time.Millisecond},
			inject: rollingRestart, controls: []*control{blindFront},
		},
		{
			name: "replica-frozen", ids: "F-22", about: "SIGSTOP of a replica for 3 to 15 s",
			replicas: 3, stopped: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: freezeReplica, controls: []*control{revive, uncommit},
		},
		{
			name: "hang-up", ids: "F-24", about: "clients go away at a random byte of the request or its answer, and ask again",
			habits: habits{introspect: 20, twice: 20, hangUp: 2, leave: 60}, every: [2]time.Duration{100 * time.Millisecond, 101 * time.Millisecond},
			inject: func(context.Context, *stage) error { return nil }, controls: []*control{stale},
		},
		{
			name: "failover", ids: "F-05", about: "SIGKILL of PostgreSQL's process tree, promotion of its synchronous standby; the old primary is rewound and follows, every other time after it was back for 2 s as a second primary",
			counted: true, heal: 30 * time.Second, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			own: true, before: addStandby, inject: failOver, controls: []*control{uncommit, revive},
		},
		{
			name: "disk-full", ids: "F-11", about: "the file system of PostgreSQL's data and log has no room for 1 to 4 s; PostgreSQL ends of it, and is started when there is room",
			own: true, room: "192m", settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{time.Second, 2 * time.Second},
			inject: fillDisk, controls: []*control{falseRefusal, uncommit},
		},
		{
			name: "log-blocked", ids: "F-25", about: "nobody reads a replica's log for 6 to 8 s, and its pipe is full",
			every: [2]time.Duration{time.Second, 2 * time.Second}, heal: time.Second, inject: blockLog, controls: []*control{cached, uncommit},
		},
		{
			name: "row-poisoned", ids: "F-13", about: "three sessions' rows can not be read for 0.2 to 1 s, and are then as they were",
			every: [2]time.Duration{200 * time.Millisecond, time.Second}, inject: poisonRows, controls: []*control{falseRefusal},
		},
		{
			name: "everything", ids: "F-01, F-03, F-04, F-06, F-09", about: "one after the other by chance: a replica killed, PostgreSQL crashed, shut down or slow, answers lost, rows locked",
			replicas: 3, linked: true, counted: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow,
			every:  [2]time.Duration{300 * time.Millisecond, time.Second},
			inject: anyOf(killReplica, crashPostgres, restartPostgres, cutAnswers, cutAnswers, delayAnswers, lockRows), controls: []*control{uncommit, falseRefusal, stale},
		},
		{
			name: "sqlite-killed", ids: "F-26", about: "kill -9 of the one replica on a SQLite file, and a new start",
			sqlite: true, replicas: 1, applications: 16, counted: true, every: [2]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond},
			inject: killReplica, controls: []*control{uncommit},
		},
		{
			name: "sqlite-busy", ids: "F-26", about: "two replicas on one SQLite file, and a third program that locks it for 0.2 to 2.5 s",
			sqlite: true, applications: 16, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{100 * time.Millisecond, 500 * time.Millisecond},
			inject: lockFile, controls: []*control{falseRefusal},
		},
		{
			name: "sqlite-company", ids: "F-26", about: "two replicas on one SQLite file; one is killed while the command line makes users, eight other programs write, or one takes the log into the file",
			sqlite: true, applications: 16, counted: true, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{100 * time.Millisecond, 500 * time.Millisecond},
			inject: keepCompany, controls: []*control{uncommit, revive},
		},
		{
			name: "sqlite-disk-full", ids: "F-26", about: "the file system of the SQLite file has no room for 1 to 4 s",
			sqlite: true, room: "48m", applications: 16, settings: []string{"RETRY_WINDOW=60s"}, window: longWindow, every: [2]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond},
			inject: fillDisk, controls: []*control{falseRefusal, uncommit},
		},
	}
	for _, f := range list {
		f.complete()
	}
	return list
}

func (f *fault) complete() {
	if f.replicas == 0 {
		f.replicas = 2
	}
	if f.applications == 0 {
		f.applications = 48
	}
	if f.habits == (habits{}) {
		f.habits = mixed
	}
	if f.window == 0 {
		f.window = defaultWindow
	}
	if f.heal == 0 {
		f.heal = 10 * time.Second
	}
}

// anyOf lets chance choose.
func anyOf(list ...func(context.Context, *stage) error) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error { return list[st.chance.below(len(list))](ctx, st) }
}
