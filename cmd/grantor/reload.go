package main

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/grantorhq/grantor/config"
)

// certificateCheck is how often the files of the certificate are looked at.
const certificateCheck = time.Minute

// reloader is what a server can change while it runs: the certificate and the level of
// its log. Whatever is wrong is logged, and what was before goes on.
type reloader struct {
	settings    config.Config // those that hold
	load        func() (config.Config, error)
	certificate *certificate // or nil
	level       *slog.LevelVar
	log         *slog.Logger
}

// run ends with ctx. A hangup is SIGHUP, a tick the time to look at the certificate.
func (r *reloader) run(ctx context.Context, hangup <-chan os.Signal, tick <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			r.reloadSettings()
			r.reloadCertificate()
		case <-tick:
			r.reloadCertificate()
		}
	}
}

func (r *reloader) reloadCertificate() {
	if r.certificate != nil {
		r.certificate.reload()
	}
}

func (r *reloader) reloadSettings() {
	next, err := r.load()
	if err != nil {
		r.log.Warn("the settings can not be read again, the old ones stay", "error", oneLine(err.Error()))
		return
	}
	const level = "log_level"
	changed := r.settings.Changed(next)
	if slices.Contains(changed, level) {
		setLevel(r.level, next)
		r.settings.LogLevel = next.LogLevel
	}
	r.log.Info("read the settings again", level, next.LogLevel)
	if later := slices.DeleteFunc(changed, func(key string) bool { return key == level }); len(later) > 0 {
		r.log.Warn("some settings have changed that hold only after a restart", "settings", strings.Join(later, " "))
	}
}
