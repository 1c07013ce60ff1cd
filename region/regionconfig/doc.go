// Package regionconfig loads the configuration of regions from a file, a flat map, or
// the environment, for [region.ConfigureAll]:
//
//	setup, err := regionconfig.Load("cache.yaml")
//	if err != nil {
//		return err
//	}
//	return region.ConfigureAll(setup)
//
// with a file such as
//
//	backends:
//	  fast: memory:?max_entries=100000
//	  shared: redis://:${REDIS_PASSWORD}@127.0.0.1:6379/0?prefix=app
//	defaults: {backend: shared, expiration: 5m, stale_for: 1h}
//	regions:
//	  users: {expiration: 10m, refresh: background, codec: json+zstd}
//	  reports: {backend: fast}
//
// The packages of the backends and codecs have to be imported, with blank imports where
// nothing else needs them. It is a package of its own so that programs which configure
// their regions in Go do not link a YAML parser.
//
// # Settings
//
// The settings of a region, and of defaults, are those of [region.RegionSetup]: backend,
// codec, interop, key_mangler, expiration, stale_for, refresh, not_found_for,
// create_timeout, cancel_on_lease_lost, max_wait, close_timeout and disabled. Times are written as 90s, 5m
// or 1h30m, or forever. A region that has all from defaults is written as {}. Top-level
// keys that begin with x- are left alone, to keep YAML anchors in.
//
// In the URL of a backend, ${NAME} stands for an environment variable, which has to be
// set; $${ stands for ${. Between // and @ its special characters are written with percent
// signs, so that any password will do.
//
// # Environment
//
// [Load] lets the environment have the last word: DOGPILE_USERS_BACKEND is the setting
// backend of the region users, DOGPILE_DEFAULTS_EXPIRATION one of defaults, and
// DOGPILE_BACKENDS_SHARED the URL of the backend shared. Letters are upper case, and what
// is no letter or digit is an underscore. A variable that is empty counts as not set. One that
// has the name of a region or of a setting in it, means nothing, and does not stand in the URL
// of a backend, as ${DOGPILE_USERS_PASSWORD} may, is an error.
//
// # Errors
//
// Everything that is wrong is told at once, in a [*region.SetupError], with the line it
// stands in and the nearest name that would be right. Nothing is taken from a file of
// which a part is wrong.
package regionconfig
