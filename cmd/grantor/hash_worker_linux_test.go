package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// served is a server in a process of its own, with somebody to sign in.
type served struct {
	*outside
	kept demo
}

func serveDemo(t *testing.T, more ...string) *served {
	t.Helper()
	folder := t.TempDir()
	// "grantor is ready" comes after the demo user's password was hashed: by the worker, of
	// which there can be one; or here, if it got no processor for a second.
	p := startOutside(t, environ("sqlite:"+filepath.Join(folder, "grantor.db"), append(more, "GOMAXPROCS=1")...), "serve", "--dev", "--address", "127.0.0.1:0")
	text, err := os.ReadFile(filepath.Join(folder, "grantor.db"+demoFile))
	require.NoError(t, err)
	kept, err := parseDemo(text)
	require.NoError(t, err)
	return &served{outside: p, kept: kept}
}

func (s *served) signIn(t *testing.T, password string) int {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {s.kept.User}, "password": {password}}
	request, err := http.NewRequest(http.MethodPost, s.issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	request.SetBasicAuth(s.kept.ClientID, s.kept.ClientSecret)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := http.Client{Timeout: patience}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// worker is the process that hashes for this server.
func (s *served) worker(t *testing.T) int {
	t.Helper()
	var all []int
	require.Eventually(t, func() bool {
		all = childrenOf(t, s.Process.Pid)
		return len(all) == 1
	}, patience, 10*time.Millisecond, "%s", s.log)
	return all[0]
}

func childrenOf(t *testing.T, pid int) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, path := range stats {
		if fields := stat(path); len(fields) > 1 && fields[1] == strconv.Itoa(pid) && fields[0] != "Z" {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(t, err)
			all = append(all, child)
		}
	}
	return all
}

// stat is the fields behind the name, from the state on; none of who is gone.
func stat(path string) []string {
	text, _ := os.ReadFile(path)
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
}

// requireGone wants a process to end, whoever will bury it.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		fields := stat("/proc/" + strconv.Itoa(pid) + "/stat")
		return len(fields) == 0 || fields[0] == "Z"
	}, patience, 10*time.Millisecond, "process %d goes on", pid)
}

func TestPasswordsAreHashedAtTheLowestPriority(t *testing.T) {
	s := serveDemo(t)
	require.Equal(t, http.StatusOK, s.signIn(t, s.kept.Password))
	require.Equal(t, http.StatusBadRequest, s.signIn(t, "wrong"))
	worker := s.worker(t)
	folder := "/proc/" + strconv.Itoa(worker)

	require.EventuallyWithT(t, func(t *assert.CollectT) {
		threads, err := filepath.Glob(folder + "/task/*/stat")
		require.NoError(t, err)
		require.Greater(t, len(threads), 1)
		for _, path := range threads {
			if fields := stat(path); len(fields) > 0 { // else it has just ended
				require.Equal(t, "19", fields[16], "nice")
				require.Equal(t, "5", fields[38], "SCHED_IDLE")
				require.Equal(t, strconv.Itoa(worker), fields[2], "a process group of its own, for Ctrl-C")
				require.Equal(t, strconv.Itoa(worker), fields[3], "and a session, between which Linux shares out first")
			}
		}
	}, patience, 10*time.Millisecond)
	if grouped, err := os.ReadFile("/proc/sys/kernel/sched_autogroup_enabled"); err == nil && strings.TrimSpace(string(grouped)) == "1" {
		require.Eventually(t, func() bool {
			group, err := os.ReadFile(folder + "/autogroup")
			return err == nil && strings.HasSuffix(strings.TrimSpace(string(group)), "nice 19")
		}, patience, 10*time.Millisecond)
	}
	words, err := os.ReadFile(folder + "/cmdline")
	require.NoError(t, err)
	require.Regexp(t, `^grantor\x00hash-worker\x00$`, string(words))
	environ, err := os.ReadFile(folder + "/environ")
	require.NoError(t, err)
	require.Regexp(t, `^GOMAXPROCS=1\x00GOGC=off\x00GOMEMLIMIT=\d+KiB\x00$`, string(environ), "nothing of ours")
	require.NotContains(t, s.log.String(), s.kept.Password)

	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.end(t))
	requireGone(t, worker)
}

// What two processes both read from the program's file is not theirs twice.
func TestAWorkerIsSmall(t *testing.T) {
	s := serveDemo(t)
	path := "/proc/" + strconv.Itoa(s.worker(t)) + "/status"
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(text), "RssFile:")
		kib, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(t, err)
		require.Less(t, kib, 12<<10)
	}, patience, 10*time.Millisecond)
}

// Out of memory, or an operator's mistake: who was being signed in is, a moment later.
func TestAKilledWorkerIsReplaced(t *testing.T) {
	s := serveDemo(t)
	worker := s.worker(t)
	require.NoError(t, syscall.Kill(worker, syscall.SIGSTOP)) // in the middle, whenever that is
	status := make(chan int, 1)
	go func() { status <- s.signIn(t, s.kept.Password) }()
	require.NoError(t, syscall.Kill(worker, syscall.SIGKILL))
	require.Equal(t, http.StatusOK, <-status)
	requireGone(t, worker)
	require.Equal(t, http.StatusOK, s.signIn(t, s.kept.Password))
	require.NotEqual(t, worker, s.worker(t))
}

func TestAWorkerDiesWithItsServer(t *testing.T) {
	s := serveDemo(t)
	worker := s.worker(t)
	require.NoError(t, s.Process.Kill())
	require.Error(t, s.end(t))
	requireGone(t, worker)
}

// ignored is the set of signals that a process ignores, the first in the lowest bit.
func ignored(t *testing.T, pid int) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "SigIgn:")
	set, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	require.NoError(t, err)
	return set
}

// A service manager tells all processes to stop. The server still answers a sign-in that
// is in flight, so the worker goes on; and it need not wait for a worker that can not.
func TestADrainFinishesSignIns(t *testing.T) {
	s := serveDemo(t, "GRANTOR_DRAIN_TIMEOUT=20s")
	worker := s.worker(t)
	const both = uint64(1)<<(syscall.SIGTERM-1) | uint64(1)<<(syscall.SIGINT-1)
	require.Eventually(t, func() bool { return both&ignored(t, worker) == both }, patience, 10*time.Millisecond)
	require.NoError(t, syscall.Kill(worker, syscall.SIGTERM))
	require.NoError(t, syscall.Kill(worker, syscall.SIGSTOP))
	finish := halfPost(t, s.issuer, url.Values{
		"grant_type": {"password"}, "username": {s.kept.User}, "password": {s.kept.Password},
		"client_id": {s.kept.ClientID}, "client_secret": {s.kept.ClientSecret},
	}.Encode())
	require.NoError(t, s.Process.Signal(syscall.SIGTERM))
	status := make(chan int, 1)
	go func() { status <- finish() }()
	require.Equal(t, http.StatusOK, <-status)
	require.NoError(t, s.end(t), "exit 0")
	requireGone(t, worker)
	require.NotContains(t, s.log.String(), "hashing process", "it ended when it was told to")
}
