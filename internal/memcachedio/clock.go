package memcachedio

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Time returns the server's time in seconds since 1970: that by which it judges the
// Expiration of items.
func (s *Server) Time(ctx context.Context) (int64, error) {
	now, err := s.time(ctx)
	if err != nil && Broken(err) && ctx.Err() == nil {
		now, err = s.time(ctx)
	}
	return now, err
}

func (s *Server) time(ctx context.Context) (int64, error) {
	r, err := s.lend(ctx)
	if err != nil {
		return 0, err
	}
	x, err := r.begin(ctx, s.mc.Timeout)
	if err == nil {
		var now int64
		now, err = x.time()
		x.end()
		return now, s.back(ctx, r, err)
	}
	return 0, s.back(ctx, r, err)
}

// mostStats is how many lines of statistics are read.
const mostStats = 1000

// time asks for the server's statistics, one of which is its time.
func (x *exchange) time() (int64, error) {
	if _, err := x.conn.Write([]byte("stats\r\n")); err != nil {
		return 0, err
	}
	if err := x.begun(); err != nil {
		return 0, err
	}
	var now int64
	for range mostStats {
		line, err := x.line()
		if err != nil {
			return 0, err
		}
		text := strings.TrimSuffix(string(line), "\r\n")
		if text == "END" {
			if now <= longestRelative {
				return 0, errors.New("the server's statistics do not tell its time")
			}
			return now, x.over()
		}
		rest, ok := strings.CutPrefix(text, "STAT ")
		if !ok {
			return 0, fmt.Errorf("the answer to stats is %.200q", line)
		}
		if number, ok := strings.CutPrefix(rest, "time "); ok {
			if now, err = strconv.ParseInt(number, 10, 64); err != nil || now > 1<<31-1<<20 {
				return 0, fmt.Errorf("the server says that its time is %.200q", number)
			}
		}
	}
	return 0, fmt.Errorf("the server has more than %d statistics", mostStats)
}
