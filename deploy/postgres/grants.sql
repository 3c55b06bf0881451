-- Rights on PostgreSQL: a user for each role, with what it needs and nothing more.
--
-- Run it in banklink's database as its owner or a superuser, before the first `banklink migrate up` and after every one:
--
--   psql "$ADMIN_URL" -f deploy/postgres/grants.sql
--
-- It creates the roles without passwords; set them with \password banklink_worker and so on. Run `banklink migrate up` as
-- banklink_migrator, which owns the tables, and do not set BANKLINK_MIGRATE for the others. The operator's commands are
-- `banklink dead-letters`, `links`, `reconcile` and `check`.

DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['banklink_migrator', 'banklink_worker', 'banklink_relay', 'banklink_api', 'banklink_reconciler',
                            'banklink_operator', 'banklink_console'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
      EXECUTE format('CREATE ROLE %I LOGIN', role);
    END IF;
  END LOOP;
END $$;

-- Before PostgreSQL 15 every user may create tables in the schema public.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO banklink_worker, banklink_relay, banklink_api, banklink_reconciler, banklink_operator,
  banklink_console;
GRANT USAGE, CREATE ON SCHEMA public TO banklink_migrator;

DO $$
BEGIN
  IF to_regclass('public.seaql_migrations') IS NULL THEN
    RAISE NOTICE 'no tables yet: run banklink migrate up as banklink_migrator, then this file again';
    RETURN;
  END IF;

  -- Each process checks that the schema is complete.
  GRANT SELECT ON seaql_migrations TO banklink_worker, banklink_relay, banklink_api, banklink_reconciler, banklink_operator,
  banklink_console;

  -- The worker writes links and their events, records dead letters, and ends those that were replayed.
  GRANT SELECT, INSERT, UPDATE ON bank_links, outbox_events, dead_letters TO banklink_worker;
  GRANT SELECT, INSERT ON dead_letter_history TO banklink_worker;
  GRANT USAGE ON SEQUENCE dead_letter_history_id_seq TO banklink_worker;

  -- The relay publishes events and deletes them.
  GRANT SELECT, UPDATE, DELETE ON outbox_events TO banklink_relay;

  -- Operators replay, edit, discard and prune. To the histories of who did what and who saw customer
  -- data they can only add. `check` writes to all tables, and rolls back.
  GRANT SELECT, INSERT, UPDATE ON bank_links, outbox_events TO banklink_operator;
  GRANT SELECT, UPDATE, DELETE ON dead_letters TO banklink_operator;
  GRANT SELECT, INSERT ON dead_letter_history TO banklink_operator;
  GRANT USAGE ON SEQUENCE dead_letter_history_id_seq TO banklink_operator;
  GRANT SELECT, INSERT, UPDATE, DELETE ON replays, replay_letters TO banklink_operator;
  GRANT SELECT, INSERT ON replay_history TO banklink_operator;
  GRANT USAGE ON SEQUENCE replays_id_seq, replay_history_id_seq TO banklink_operator;

  -- The reconciler compares with links and letters, and records its runs and who works on one. The command is an operator's.
  GRANT SELECT ON bank_links, dead_letters TO banklink_reconciler;
  GRANT SELECT, INSERT, UPDATE, DELETE ON reconcile_runs, leases TO banklink_reconciler, banklink_operator;
  GRANT USAGE ON SEQUENCE reconcile_runs_id_seq TO banklink_reconciler, banklink_operator;

  -- The console shows everything, and replays, edits and discards dead letters. It prunes nothing, and writes no links.
  GRANT SELECT ON bank_links, outbox_events, reconcile_runs TO banklink_console;
  GRANT SELECT, INSERT, UPDATE, DELETE ON leases TO banklink_console;
  GRANT SELECT, INSERT, UPDATE ON replays, replay_letters TO banklink_console;
  GRANT USAGE ON SEQUENCE replays_id_seq, replay_history_id_seq TO banklink_console;
  GRANT SELECT, UPDATE ON dead_letters TO banklink_console;
  GRANT SELECT, INSERT ON dead_letter_history, replay_history TO banklink_console;
  GRANT USAGE ON SEQUENCE dead_letter_history_id_seq TO banklink_console;

  -- The read API, and other programs that read links from the database.
  GRANT SELECT ON bank_links TO banklink_api;
END $$;
