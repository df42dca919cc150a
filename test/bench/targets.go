package main

// goal is what an operation on PostgreSQL must reach, as a ratio to the floor server
// (database: to the bare statement). 0 = none.
type goal struct {
	rate     float64 // at least
	cpu      float64 // at most
	database float64 // at most
}

// p99Goal is for every operation at half of its highest rate.
const p99Goal = 3

var goals = map[string]goal{
	"client_credentials/jwt":    {rate: 0.75, cpu: 1.4},
	"client_credentials/opaque": {rate: 0.60, cpu: 1.8},
	"refresh/jwt":               {rate: 0.70, cpu: 1.6, database: 1.15},
	"refresh/opaque":            {rate: 0.60, cpu: 1.8, database: 1.15},
	"code/jwt+id_token":         {rate: 0.65, cpu: 1.7, database: 1.2},
	"introspect/jwt/active":     {rate: 0.65, cpu: 1.6, database: 1.2},
	"introspect/jwt/revoked":    {rate: 0.65, cpu: 1.6, database: 1.2},
	"introspect/jwt/garbage":    {rate: 0.65, cpu: 1.6},
	"introspect/opaque/active":  {rate: 0.65, cpu: 1.6, database: 1.2},
	"introspect/opaque/revoked": {rate: 0.65, cpu: 1.6, database: 1.2},
	"introspect/opaque/garbage": {rate: 0.65, cpu: 1.6},
	"revoke/refresh_token":      {rate: 0.65, cpu: 1.6, database: 1.2},
	"revoke/access_token":       {rate: 0.65, cpu: 1.6, database: 1.2},
	"password":                  {rate: 0.95}, // of raw argon2id
	"discovery":                 {rate: 0.85, cpu: 1.2},
	"jwks":                      {rate: 0.85, cpu: 1.2},
}

// On SQLite a refresh is held against bare commits of one row on the same file.
const sqliteRefreshGoal = 0.6

// What scenarios must reach, at most.
const (
	replicasGoal = 1.1 // of the CPU time of one replica, at four
	mixedGoal    = 2   // of p99 without logins
)

// What vitals must reach, on either database.
const (
	binaryGoal  = 30  // MiB
	readyGoal   = 60  // ms
	idleGoal    = 32  // MiB
	loadedGoal  = 100 // MiB
	settledGoal = 48  // MiB
)
