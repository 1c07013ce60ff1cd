// Package regionpg tells a program's regions what a PostgreSQL database says has
// changed, by LISTEN and NOTIFY. It is a source for [region.Invalidator]:
//
//	source, err := regionpg.Listen(ctx, regionpg.Config{URL: os.Getenv("DATABASE_URL"), Channel: "cache"})
//	…
//	defer source.Close()
//	inv, err := region.NewInvalidator(Users, Posts)
//	…
//	go inv.Run(ctx, source.Notices())
//
// A transaction that notifies is heard when it has committed, and not at all if it is
// rolled back; so what is read after a notice is what the transaction has written. It is
// heard whoever wrote: other programs, migrations, a person at a prompt.
//
// # What to say
//
// The payload of a notification is a JSON object, of which each member may be left out:
//
//	{"region": "users", "mode": "soft", "all": true, "tags": ["table:users"], "keys": ["42"]}
//
// The members are those of [region.Notice]; mode is "hard" or "soft". There has to be one
// of all, tags and keys. Whatever is not exactly that (nothing at all, another member, a
// wrong type, a name twice or in capitals) may be an invalidation that would otherwise be
// lost: it is logged, and everything is invalidated, hard, in all regions.
// [Config.Decode] reads other payloads.
//
// A payload has less than 8000 bytes: PostgreSQL refuses longer ones, and the statement
// that fires the trigger fails with it. A trigger that may have more to say says
// {"region": "users", "all": true} instead. Payloads are UTF-8 without zero bytes, so
// names of tags and keys that are not cannot be said.
//
// # A trigger
//
// This one is fired once for each statement and names the rows that it has changed. With
// it, whatever is read from the table has the tag "table:users", or, if it is about one
// row, "user:" and its id.
//
//	CREATE FUNCTION users_changed() RETURNS trigger LANGUAGE plpgsql AS $$
//	DECLARE
//	    ids   bigint[];
//	    named text;
//	    said  text := '{"region":"users","all":true}';
//	BEGIN
//	    IF TG_OP = 'INSERT' THEN
//	        ids := ARRAY(SELECT id FROM new_rows LIMIT 1000);
//	    ELSIF TG_OP = 'UPDATE' THEN
//	        ids := ARRAY(SELECT id FROM old_rows UNION SELECT id FROM new_rows LIMIT 1000);
//	    ELSIF TG_OP = 'DELETE' THEN
//	        ids := ARRAY(SELECT id FROM old_rows LIMIT 1000);
//	    END IF;
//	    IF cardinality(ids) = 0 THEN
//	        RETURN NULL; -- the statement has changed nothing
//	    END IF;
//	    IF cardinality(ids) < 1000 THEN -- more would be too long, and TRUNCATE names none
//	        named := json_build_object('region', 'users', 'tags', array_prepend('table:users'::text,
//	            ARRAY(SELECT 'user:' || id FROM unnest(ids) AS id)))::text;
//	        IF octet_length(named) < 8000 THEN
//	            said := named;
//	        END IF;
//	    END IF;
//	    PERFORM pg_notify('cache', said);
//	    RETURN NULL;
//	END $$;
//
//	CREATE TRIGGER users_inserted AFTER INSERT ON users
//	    REFERENCING NEW TABLE AS new_rows
//	    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
//	CREATE TRIGGER users_updated AFTER UPDATE ON users
//	    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
//	    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
//	CREATE TRIGGER users_deleted AFTER DELETE ON users
//	    REFERENCING OLD TABLE AS old_rows
//	    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
//	CREATE TRIGGER users_truncated AFTER TRUNCATE ON users
//	    FOR EACH STATEMENT EXECUTE FUNCTION users_changed();
//
// # Who may say it
//
// PostgreSQL asks for no privilege to notify: every role that can connect to the database
// can have everything invalidated, again and again. Do not use a database for it in which
// roles are that you do not trust so far.
//
// # When the connection is lost
//
// PostgreSQL keeps nothing for those who are away. So a Source connects again, for as
// long as it takes, at most every 10 seconds, and when it listens again it tells to
// invalidate everything, hard, in all regions. A connection that has died without a word
// is noticed too, after [Config.Keepalive] and [Config.Timeout]. Until a Source is back,
// regions may have values that are out of date; how long is bounded by their expiration
// alone.
//
// Nothing is invalidated at the start, because each deploy would empty the cache of the
// whole fleet; see [Config.InvalidateAtStart].
//
// # What to know before
//
// Every process whose values are in its own memory has to listen. Where the backend is
// shared, one process is enough, and two are safer; what more of them add is work, as
// each carries out all that is said.
//
// Behind PgBouncer in transaction or statement mode LISTEN does not work: the URL has to
// lead to the server itself, or to a pool in session mode. It has to be the primary, since
// a standby does not let anybody listen: with several hosts, add
// target_session_attrs=primary. And values have to be read from the primary as well: a
// standby may not have yet what the notice is about.
//
// Transactions that notify commit one after the other, in all databases of a server. So
// triggers are for tables that are read more than they are written.
//
// A Source that nobody takes from makes the server keep what it has to say, up to 8 GB by
// default, and when that is full, transactions that notify fail. [region.Invalidator]
// always takes.
package regionpg
