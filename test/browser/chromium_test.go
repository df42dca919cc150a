package browser_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A test waits for its browser most of the time: two at once would leave two cores idle.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	code := m.Run()
	endBrowser()
	if dir, err := buildFolder(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// chromium is one process for all tests, started by the first that needs it.
var chromium = sync.OnceValues(func() (context.Context, error) {
	path, err := chromiumPath()
	if err != nil {
		return nil, err
	}
	ctx, _ := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.WSURLReadTimeout(time.Minute), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("headless", "new"), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true),
		// It talks to nobody but us.
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-extensions", true), chromedp.Flag("disable-default-apps", true),
		// Every tab counts as the one in front.
		chromedp.Flag("disable-background-timer-throttling", true), chromedp.Flag("disable-backgrounding-occluded-windows", true), chromedp.Flag("disable-renderer-backgrounding", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("force-color-profile", "srgb"),
		// The certificates of httptest, and names for sites that are strangers to each other.
		chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
	)
	// What chromedp itself has to say is about events that it does not know yet.
	ctx, _ = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	running = ctx
	return ctx, chromedp.Run(ctx)
})

var running context.Context

// endBrowser ends the process that was started here, and removes its profile.
func endBrowser() {
	if running == nil {
		return
	}
	_ = chromedp.Cancel(running)
	if c := chromedp.FromContext(running); c != nil && c.Allocator != nil {
		c.Allocator.Wait()
	}
}

// needChromium skips the test where no browser is installed, unless the run was told
// that one is: then a skipped test would look like success.
func needChromium(t *testing.T) context.Context {
	t.Helper()
	if _, err := chromiumPath(); err != nil {
		if required("browser") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, err := chromium()
	require.NoError(t, err, "start the browser")
	return ctx
}

func chromiumPath() (string, error) {
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if path := os.Getenv("CHROME_BIN"); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no browser here (%s): install chromium (Debian: apt-get install chromium) or set CHROME_BIN", strings.Join(names, ", "))
}

// required reports whether this run must not skip what needs the thing.
func required(thing string) bool {
	words := strings.FieldsFunc(os.Getenv("GRANTOR_TEST_REQUIRE"), func(r rune) bool { return r == ',' || r == ' ' })
	return slices.Contains(words, thing)
}
