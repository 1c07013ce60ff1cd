package redisurl

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/dogpile-go/dogpile/internal/redistest"
)

func TestSentinels(t *testing.T) {
	const password = "right"
	sentinels := redistest.StartSentinel(t, "--requirepass", password, "--masterauth", password)
	for _, s := range sentinels.Sentinels {
		s.Do(t, "ACL", "SETUSER", "watcher", "on", ">"+password, "~*", "&*", "+@all")
	}
	ctx := t.Context()
	hosts := strings.Join(sentinels.Addrs, ",")
	name := sentinels.MasterName

	for raw, want := range map[string]string{
		// A sentinel that does not know the master has nothing to say, which is not to
		// be taken for a key that is not there.
		"redis+sentinel://:right@" + hosts + "/nobody":                                                          `the sentinels know no master "nobody"`,
		"redis+sentinel://:secret@" + hosts + "/" + name:                                                        "WRONGPASS",
		"redis+sentinel://" + hosts + "/" + name:                                                                "NOAUTH",
		"redis+sentinel://:right@" + hosts + "/" + name + "?sentinel_password=secret&sentinel_username=watcher": "WRONGPASS",
	} {
		client := open(t, raw)
		pipe := client.Pipeline()
		pipe.Get(ctx, "k")
		_, inPipe := pipe.Exec(ctx)
		for what, err := range map[string]error{"get": client.Get(ctx, "k").Err(), "pipeline": inPipe} {
			if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, redis.Nil) {
				t.Errorf("%s: %s: %v; want %q", raw, what, err, want)
			} else if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), password) {
				t.Errorf("%s: %s: the error shows the password: %v", raw, what, err)
			}
		}
	}

	client := open(t, "redis+sentinel://:right@127.0.0.1:1,"+hosts+"/"+name+"/2?client_name=me&sentinel_username=watcher&sentinel_password=right").(*redis.Client)
	info := client.Do(ctx, "CLIENT", "INFO").String()
	for _, want := range []string{" db=2 ", " name=me ", " resp=3", " laddr=" + sentinels.Master(t).Addr + " "} {
		if !strings.Contains(info, want) {
			t.Errorf("no %q in the connection %s", want, info)
		}
	}

	// A client that is made from a copy of the options asks the sentinels as well.
	options := *client.Options()
	options.MaxRetries = noRetries
	follow := func(when string) {
		t.Helper()
		master := sentinels.Master(t).Addr
		aside := redis.NewClient(&options)
		defer aside.Close()
		for who, c := range map[string]*redis.Client{"the client": client, "a copy": aside} {
			await(t, who+" is connected to "+master+" "+when, func() error {
				info, err := c.Do(ctx, "CLIENT", "INFO").Text()
				if err == nil && !strings.Contains(info, " laddr="+master+" ") {
					err = errors.New(info)
				}
				return err
			})
		}
	}
	follow("at first")
	sentinels.Failover(t)
	follow("after a planned change")
	sentinels.AwaitFailover(t, sentinels.KillMaster(t))
	follow("after the death of the master")
}
