package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/grantorhq/grantor/grants"
	"github.com/grantorhq/grantor/storage/storagetest"
)

func walked(t *testing.T, sessions int) *walk {
	t.Helper()
	codec, err := grants.NewCodec([]grants.Key{{Secret: make([]byte, 32)}})
	require.NoError(t, err)
	return newWalk(&world{codec: codec, clients: map[string]credentials{"app": {"app", "secret"}}}, "app", span{100, sessions})
}

func tokenIn(request []byte) string {
	_, token, _ := strings.Cut(string(request), "refresh_token=")
	return token
}

func TestA_walk_renews_each_session_as_often_as_asked_with_the_token_before(t *testing.T) {
	p := walked(t, 10)
	seen := map[grants.ID]int64{}
	for _, w := range p.workers(3, 4) {
		for request := w.next(); request != nil; request = w.next() {
			id, generation, err := p.w.codec.Parse(grants.Refresh, tokenIn(request))
			require.NoError(t, err)
			require.Equal(t, seen[id]+1, generation, "the token of the answer before")
			seen[id] = generation
			body := `{"access_token":"eyJ","refresh_token":"` + p.w.codec.Mint(grants.Refresh, id, generation+1) + `"}`
			require.NoError(t, w.check(http.StatusOK, []byte(body)))
		}
	}
	require.Len(t, seen, 10)
	for id, generation := range seen {
		require.Equal(t, int64(4), generation, "%s", id)
	}
}

func TestSteps_come_to_all_places_and_go_far(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 625, 1250, 10_000} {
		seen := map[int]bool{}
		step := stepAround(n)
		for i := range n {
			place := i * step % n
			seen[place] = true
			for back := 1; back <= 10 && n > 1000; back++ {
				apart := (place - (n+i-back)%n*step%n + n) % n
				require.Greater(t, min(apart, n-apart), 30, "n %d, i %d: in one page with the %d before", n, i, back)
			}
		}
		require.Len(t, seen, n)
	}
}

func TestJumps_reach_every_place_about_as_often_and_differ(t *testing.T) {
	first, second := jumps(1), jumps(2)
	same, visits := 0, make([]int, 10)
	for range 10_000 {
		a, b := first.below(10), second.below(10)
		visits[a]++
		if a == b {
			same++
		}
	}
	for place, n := range visits {
		require.InDelta(t, 1000, n, 150, "place %d", place)
	}
	require.InDelta(t, 1000, same, 150, "two walkers do not go side by side")
}

func TestA_walk_ends_with_an_answer_that_is_not_the_next_token(t *testing.T) {
	p := walked(t, 10)
	w := p.workers(1, 0)[0]
	token := tokenIn(w.next())
	require.Error(t, w.check(http.StatusOK, []byte(`{"refresh_token":"`+token+`"}`)), "the same token again")
	require.Error(t, w.check(http.StatusServiceUnavailable, nil))
	require.Equal(t, token, p.w.codec.Mint(grants.Refresh, p.id(w.(*walker).at), 1), "and the session is where it was")
}

func TestPostgreSQL_makes_the_same_ids_and_owners(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, storagetest.Postgres(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	w := &world{userIDs: make([]string, 8)}
	var id []byte
	var owner string
	require.NoError(t, conn.QueryRow(ctx, "SELECT "+numberedID+", "+numberedOwner+" FROM (SELECT 12345::bigint) AS t (n), (SELECT 7::bigint, 'me') AS p (copies, first)").Scan(&id, &owner))
	expected := grantID(12345)
	require.Equal(t, expected[:], id)
	require.Equal(t, w.ownerOf(12345), owner)
}

func TestThe_end_of_housekeeping_is_read_from_the_log(t *testing.T) {
	h := &housekeepingResult{Expired: 700}
	log := strings.NewReader("level=INFO msg=request sessions=9\nlevel=INFO msg=housekeeping sessions=500 sign_ins=0\n{\"msg\":\"housekeeping\",\"sessions\":200}\n")
	require.NoError(t, h.await(t.Context(), log))
	require.Equal(t, 700, h.Deleted)

	h = &housekeepingResult{Expired: 700}
	require.ErrorContains(t, h.await(t.Context(), strings.NewReader("level=WARN msg=\"housekeeping stopped early\"\n")), "stopped early")
}

func TestA_login_is_compared_with_its_insert(t *testing.T) {
	list := []string{"SELECT u", "INSERT INTO grants", "SELECT u", "INSERT INTO grants", "SELECT u"}
	require.Equal(t, "INSERT INTO grants", statementOf("begin", list))
	require.Equal(t, "SELECT u", statementOf("access", list))
}
