//! The examples of each command, for `examples.rs`.

/// A command and its examples, each with what it does.
pub(super) type Examples = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// Those of each command.
pub(super) const EXAMPLES: &[Examples] = &[
    (
        &["run"],
        &[
            ("banklink run", "ingress, worker and relay in one process"),
            ("banklink run worker relay", "two roles; the others run elsewhere"),
            ("banklink run --migrate --batch-size 512", "with settings as flags"),
        ],
    ),
    (
        &["migrate"],
        &[("banklink migrate up", "apply what is pending"), ("banklink migrate status --json", "for scripts")],
    ),
    (
        &["topology"],
        &[
            ("banklink topology apply", "declare everything now"),
            ("banklink topology show --json", "a file of definitions for `rabbitmqctl import_definitions`"),
        ],
    ),
    (
        &["check"],
        &[
            ("banklink check", "one line for each check; exit status 1 if one failed"),
            ("banklink check --json", "for scripts"),
            ("banklink check --management http://127.0.0.1:15672 --strict", "with policies and alarms; warnings fail"),
            ("banklink check --probe /readyz/worker", "is a running process ready? asks its admin address"),
        ],
    ),
    (
        &["send"],
        &[
            ("banklink send", "a sample webhook to an ingress on this machine; not in production"),
            ("banklink send links.jsonl --count 1", "only the first webhook of a file"),
            ("banklink send page.json --rate 100 --url https://hooks.example.com", "a page of Lean's Events API"),
        ],
    ),
    (
        &["simulate"],
        &[
            ("banklink simulate", "with a page at http://127.0.0.1:9470"),
            ("banklink simulate --duplicate 20 --reorder 20 --drop 5", "as Lean behaves on a bad day"),
            ("banklink simulate --dialect ksa --seed 7", "Saudi Arabia, and the same each time"),
        ],
    ),
    (
        &["events"],
        &[
            ("banklink events tail", "follow events from now on"),
            ("banklink events rehearse --queue accounts.bank-links", "test a subscriber"),
        ],
    ),
    (
        &["events", "tail"],
        &[("banklink events tail", "until Ctrl-C"), ("banklink events tail --count 1", "wait for one event")],
    ),
    (
        &["events", "rehearse"],
        &[
            ("banklink events rehearse --queue accounts.bank-links", "to your queue; then compare what you hold"),
            ("banklink events rehearse --queue accounts.bank-links --json", "for a test of your own"),
        ],
    ),
    (
        &["schema"],
        &[
            ("banklink schema events", "JSON Schema of the events"),
            ("banklink schema asyncapi --namespace staging", "with the names of another namespace"),
        ],
    ),
    (
        &["dead-letters"],
        &[
            ("banklink dead-letters stats", "what is dead, by kind"),
            ("banklink dead-letters list --state dead", "the letters that wait"),
            ("banklink dead-letters replay --class unknown_entity --dry-run", "what a replay would do"),
        ],
    ),
    (
        &["dead-letters", "list"],
        &[
            ("banklink dead-letters list --state dead --since 2h", "what died lately and waits"),
            ("banklink dead-letters list --class unknown_entity --json", "for scripts"),
        ],
    ),
    (
        &["dead-letters", "show"],
        &[
            ("banklink dead-letters show 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d", "with customer data masked"),
            (
                "banklink dead-letters show 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d --reveal --by ana",
                "all of it, on record",
            ),
        ],
    ),
    (&["dead-letters", "stats"], &[("banklink dead-letters stats", "how many of each kind are dead")]),
    (
        &["dead-letters", "replay"],
        &[
            ("banklink dead-letters replay 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d", "one letter"),
            ("banklink dead-letters replay --fingerprint 3f2a9c41d07b --dry-run", "what a replay would do"),
            (
                "banklink dead-letters replay --fingerprint 3f2a9c41d07b --canary 10 --rate 100/s --yes",
                "ten first, then the rest",
            ),
        ],
    ),
    (
        &["dead-letters", "replays"],
        &[
            ("banklink dead-letters replays list", "the last 20, with their progress"),
            ("banklink dead-letters replays pause 7", "stop one, to go on with it later"),
        ],
    ),
    (
        &["dead-letters", "replays", "list"],
        &[
            ("banklink dead-letters replays list", "the last 20, with their progress"),
            ("banklink dead-letters replays list --state stopped --json", "for scripts"),
        ],
    ),
    (
        &["dead-letters", "replays", "show"],
        &[("banklink dead-letters replays show 7", "its progress, who works on it, and which letters are dead again")],
    ),
    (
        &["dead-letters", "replays", "pause"],
        &[("banklink dead-letters replays pause 7 --by ana", "whichever process works on it")],
    ),
    (
        &["dead-letters", "replays", "resume"],
        &[
            ("banklink dead-letters replays resume 7", "go on where it was paused, stopped or killed"),
            ("banklink dead-letters replays resume 7 --wait 0", "without waiting for outcomes"),
        ],
    ),
    (
        &["dead-letters", "replays", "cancel"],
        &[("banklink dead-letters replays cancel 7 8", "what is not replayed yet stays dead")],
    ),
    (
        &["dead-letters", "edit"],
        &[
            ("banklink dead-letters edit 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d", "in $EDITOR"),
            ("banklink dead-letters edit 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d --body new.json --yes", "from a file"),
        ],
    ),
    (
        &["dead-letters", "discard"],
        &[
            ("banklink dead-letters discard 0197a3c2-5b7e-7c1d-9f40-3d1f0a2b4c5d --reason test", "one letter"),
            ("banklink dead-letters discard --class expired --until 30d --reason outdated --yes", "many"),
        ],
    ),
    (
        &["dead-letters", "export"],
        &[
            ("banklink dead-letters export --state dead", "every letter that waits, one JSON object a line"),
            ("banklink dead-letters export --since 1d --by ana", "with your name in the history"),
        ],
    ),
    (
        &["dead-letters", "prune"],
        &[
            ("banklink dead-letters prune --resolved-older-than 90d --dry-run", "only count them"),
            ("banklink dead-letters prune --resolved-older-than 90d", "delete them"),
        ],
    ),
    (
        &["links"],
        &[
            ("banklink links list 6bc2336a-6d74-4e59-a492-65313423a8f8", "every link of a customer"),
            ("banklink links show f08fb010-878f-407a-9ac2-a7840fb56185", "one link, and where each value is from"),
        ],
    ),
    (
        &["links", "show"],
        &[
            ("banklink links show f08fb010-878f-407a-9ac2-a7840fb56185", "with customer data masked"),
            ("banklink links show f08fb010-878f-407a-9ac2-a7840fb56185 --json", "for scripts"),
        ],
    ),
    (&["links", "list"], &[("banklink links list 6bc2336a-6d74-4e59-a492-65313423a8f8", "every link of a customer")]),
    (
        &["reconcile"],
        &[
            ("banklink reconcile --dry-run", "list what is missing"),
            ("banklink reconcile --from 3d", "send what is missing of the last 3 days"),
            ("banklink reconcile status", "the last runs"),
        ],
    ),
    (
        &["reconcile", "status"],
        &[
            ("banklink reconcile status", "up to when all is accounted for, and the last runs"),
            ("banklink reconcile status --json", "for scripts"),
        ],
    ),
    (&["man"], &[("banklink man target", "banklink.1, banklink-run.1, ... in that directory")]),
    (
        &["completions"],
        &[
            ("banklink completions bash", "a script for /etc/bash_completion.d/banklink"),
            ("banklink completions zsh", "a script for a directory of $fpath"),
        ],
    ),
];

/// Those of the whole program.
pub(super) const OVERVIEW: &[(&str, &str)] = &[
    ("banklink migrate up", "create the database"),
    ("banklink run", "receive webhooks, write bank links, publish events"),
    ("banklink check", "is everything reachable, declared and migrated?"),
    ("banklink dead-letters stats", "what could not be processed"),
];
