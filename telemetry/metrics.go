package telemetry

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is everything that GET /metrics shows.
type Metrics struct {
	registry *prometheus.Registry
	families families

	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// families are the metrics that are read from others when somebody asks.
type families struct {
	refreshes, codes, signIns *prometheus.Desc

	hashesRunning, hashesLimit, hashQueue, hashQueueLimit, hashesRefused *prometheus.Desc

	connections, connectionsLimit, connectionWaits, connectionWait *prometheus.Desc
	databaseFailures, databaseHeard                                *prometheus.Desc
	groupSize, groupsRolledBack, lanesReplaced, lanesFree, line    *prometheus.Desc

	clientCache *prometheus.Desc

	housekeepingDeleted, housekeepingFailures, housekeepingLast, housekeepingTook *prometheus.Desc

	auditSealed, auditFailures *prometheus.Desc

	keyAge, keyNext, keysWaiting *prometheus.Desc

	logoutNotices *prometheus.Desc

	open, openLimit, openWaiting, evicted *prometheus.Desc

	logDropped, draining, buildInfo *prometheus.Desc
}

func newFamilies() families {
	family := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("grantor_"+name, help, labels, nil)
	}
	return families{
		refreshes: family("refresh_tokens_total", "Refresh tokens that were shown, by what became of them.", "verdict"),
		codes:     family("codes_total", "Authorization codes that were shown, by what became of them.", "verdict"),
		signIns:   family("sign_ins_total", "Passwords that were shown, by the door (login, password_grant) and what became of them.", "door", "outcome"),

		hashesRunning:  family("password_hashes_running", "Passwords that are hashed at this moment, or lie ready for who hashes."),
		hashesLimit:    family("password_hashes_limit", "Most passwords that are hashed or lie ready at once."),
		hashQueue:      family("password_queue_length", "Passwords that wait to be hashed."),
		hashQueueLimit: family("password_queue_limit", "Most passwords that may wait."),
		hashesRefused:  family("password_refused_total", "Passwords that came when the queue was full, or waited for 10 s, and were answered with 503."),

		connections:      family("database_connections", "Connections to the database, by pool and state.", "pool", "state"),
		connectionsLimit: family("database_connections_limit", "Most connections of a pool.", "pool"),
		connectionWaits:  family("database_connection_waits_total", "Times that somebody waited for a connection.", "pool"),
		connectionWait:   family("database_connection_wait_seconds_total", "Time spent waiting for a connection.", "pool"),
		databaseFailures: family("database_failures_total", "Units of work that the database did not do. Whoever asked was answered with 503."),
		databaseHeard:    family("database_last_answer_timestamp_seconds", "When the database last answered the question for changes, which is put every half second."),
		groupSize:        family("database_group_size", "Statements that shared one round trip and commit.", "kind"),
		groupsRolledBack: family("database_groups_rolled_back_total", "Groups that the database rolled back, so that each member ran once more by itself.", "kind"),
		lanesReplaced:    family("database_lanes_replaced_total", "Lanes that took longer than 2 ms and were stood in for by a spare one.", "kind"),
		lanesFree:        family("database_lanes_free", "Lanes that nobody uses.", "kind"),
		line:             family("database_line_length", "Statements that wait for a lane.", "kind"),

		clientCache: family("client_cache_requests_total", "Clients that were looked up, by whether the cache had them.", "result"),

		housekeepingDeleted:  family("housekeeping_deleted_total", "Rows that this replica's housekeeping deleted.", "kind"),
		housekeepingFailures: family("housekeeping_failures_total", "Rounds of this replica's housekeeping that stopped early."),
		housekeepingLast:     family("housekeeping_last_success_timestamp_seconds", "When this replica's last round without an error ended. One replica at a time has the turn."),
		housekeepingTook:     family("housekeeping_last_duration_seconds", "How long that round took."),

		auditSealed:   family("audit_sealed_timestamp_seconds", "When this replica last left no event of the audit log without a seal."),
		auditFailures: family("audit_seal_failures_total", "Times that this replica could not seal the audit log."),

		keyAge:      family("signing_key_age_seconds", "How long the key that signs has been doing so.", "algorithm"),
		keyNext:     family("signing_key_next_activation_seconds", "Time until the planned rotation; absent when none is planned.", "algorithm"),
		keysWaiting: family("signing_keys_waiting", "Published keys that the next rotation can take.", "algorithm"),

		logoutNotices: family("logout_notices_total", "Tries to tell a client about a logout: delivered, failed (tried again later), given_up.", "outcome"),

		open:        family("connections_open", "Connections of clients that are open."),
		openLimit:   family("connections_limit", "Most connections of clients that may be open."),
		openWaiting: family("connections_waiting", "Open connections without a request."),
		evicted:     family("connections_evicted_total", "Connections without a request that were closed for new ones."),

		logDropped: family("log_lines_dropped_total", "Lines of the log that nobody took in time."),
		draining:   family("draining", "1 once this replica was told to stop."),
		buildInfo:  family("build_info", "Always 1; the labels say what runs.", "version", "go_version"),
	}
}

// NewMetrics counts requests from now on. What Watch names is read at each scrape.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		families: newFamilies(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "grantor_http_requests_total",
			Help: "Requests, by route template, method, grant type, status and outcome (a word of the log, or the error code).",
		}, []string{"route", "method", "grant_type", "status", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "grantor_http_request_duration_seconds",
			Help:    "Time from the request's header to the end of the answer, by route template, method and grant type.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method", "grant_type"}),
	}
	m.registry.MustRegister(m.requests, m.took, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch names what is read at each scrape. It is called once.
func (m *Metrics) Watch(s Sources) {
	m.registry.MustRegister(collector{families: m.families, sources: s, goVersion: runtime.Version()})
}
