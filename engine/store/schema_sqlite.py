"""The tables of the SQLite store, as the migrations that make them."""

from __future__ import annotations

# Migration N takes a database from schema N to schema N + 1. Never edit one that was released; append.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE versions (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        catalog INTEGER NOT NULL, live INTEGER NOT NULL, keys INTEGER NOT NULL
    );
    INSERT INTO versions (one, catalog, live, keys) VALUES (1, 0, 0, 0);
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE publishers (
        id TEXT PRIMARY KEY, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE TABLE advertisers (
        id TEXT PRIMARY KEY, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE TABLE campaigns (
        id TEXT PRIMARY KEY,
        advertiser TEXT NOT NULL REFERENCES advertisers (id) DEFERRABLE INITIALLY DEFERRED,
        status TEXT NOT NULL, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE INDEX campaigns_of ON campaigns (advertiser, id);
    CREATE INDEX campaigns_paused ON campaigns (id) WHERE status = 'paused';
    CREATE TABLE creatives (
        id TEXT PRIMARY KEY,
        campaign TEXT NOT NULL REFERENCES campaigns (id) DEFERRABLE INITIALLY DEFERRED,
        status TEXT NOT NULL, json BLOB NOT NULL, hash TEXT NOT NULL, updated TEXT NOT NULL
    );
    CREATE INDEX creatives_of ON creatives (campaign, id);
    CREATE INDEX creatives_paused ON creatives (id) WHERE status = 'paused';
    CREATE TABLE approvals (
        publisher TEXT NOT NULL REFERENCES publishers (id) ON DELETE CASCADE,
        creative TEXT NOT NULL REFERENCES creatives (id) ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('approved', 'rejected')), updated TEXT NOT NULL,
        PRIMARY KEY (publisher, creative)
    ) WITHOUT ROWID;
    CREATE INDEX approvals_of ON approvals (creative);

    CREATE TABLE images (
        hash TEXT PRIMARY KEY, mime TEXT NOT NULL, w INTEGER NOT NULL, h INTEGER NOT NULL,
        unused_since TEXT, data BLOB NOT NULL
    );
    CREATE INDEX images_unused ON images (unused_since) WHERE unused_since IS NOT NULL;
    CREATE TABLE creative_images (
        creative TEXT NOT NULL REFERENCES creatives (id) ON DELETE CASCADE,
        hash TEXT NOT NULL REFERENCES images (hash) DEFERRABLE INITIALLY DEFERRED,
        PRIMARY KEY (hash, creative)
    ) WITHOUT ROWID;
    CREATE INDEX creative_images_of ON creative_images (creative);

    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, scope TEXT NOT NULL, tenant TEXT, secret_hash TEXT NOT NULL,
        created TEXT NOT NULL, expires TEXT, last_used_day TEXT
    ) WITHOUT ROWID;

    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL,
        id TEXT NOT NULL, before BLOB, after BLOB, catalog INTEGER NOT NULL
    );
    CREATE INDEX journal_by_catalog ON journal (catalog);

    CREATE TABLE vectors (encoder_id TEXT NOT NULL, text_hash TEXT NOT NULL, vector BLOB NOT NULL);
    CREATE UNIQUE INDEX vectors_by_text ON vectors (encoder_id, text_hash);

    CREATE TABLE pages (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT NOT NULL, encoder_id TEXT NOT NULL,
        facts BLOB NOT NULL, vector BLOB, created TEXT NOT NULL, UNIQUE (content_hash, encoder_id)
    );
    CREATE INDEX pages_by_age ON pages (created);
    CREATE TABLE page_urls (
        publisher TEXT NOT NULL, url_hash TEXT NOT NULL, content_hash TEXT NOT NULL, created TEXT NOT NULL,
        PRIMARY KEY (publisher, url_hash)
    ) WITHOUT ROWID;
    CREATE INDEX page_urls_by_age ON page_urls (created);
    """,
    """
    CREATE TABLE log_leaves (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL)
    """,
    """
    CREATE TABLE consents (
        publisher TEXT NOT NULL, subject TEXT NOT NULL, record TEXT NOT NULL, generation INTEGER NOT NULL,
        state TEXT NOT NULL, purposes TEXT NOT NULL, expires TEXT NOT NULL, ended TEXT,
        status_idx INTEGER UNIQUE,
        PRIMARY KEY (publisher, subject)
    ) WITHOUT ROWID;
    CREATE INDEX consents_by_expiry ON consents (expires) WHERE ended IS NULL;
    CREATE INDEX consents_by_end ON consents (ended) WHERE ended IS NOT NULL;
    CREATE TABLE consent_events (seq INTEGER PRIMARY KEY, subject TEXT NOT NULL, ct BLOB NOT NULL);
    CREATE INDEX consent_events_of ON consent_events (subject, seq);
    CREATE TABLE ended_statuses (status_idx INTEGER PRIMARY KEY, until TEXT NOT NULL);
    CREATE TABLE token_uses (
        jti TEXT NOT NULL, nonce TEXT NOT NULL, expires TEXT NOT NULL, PRIMARY KEY (jti, nonce)
    ) WITHOUT ROWID;
    CREATE INDEX token_uses_by_expiry ON token_uses (expires);
    CREATE TABLE unscrubbed (erase_id TEXT PRIMARY KEY) WITHOUT ROWID
    """,
    """
    CREATE TABLE budget (
        scope TEXT PRIMARY KEY, cap INTEGER NOT NULL, spent INTEGER NOT NULL CHECK (spent BETWEEN 0 AND cap)
    ) WITHOUT ROWID;
    CREATE TABLE releases (
        query TEXT PRIMARY KEY, at TEXT NOT NULL, costs TEXT NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE uses_waiting (receipt BLOB PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE use_batches (seq INTEGER PRIMARY KEY, hour INTEGER NOT NULL, receipts BLOB NOT NULL);
    CREATE INDEX use_batches_by_hour ON use_batches (hour)
    """,
    """
    CREATE TABLE events (
        view BLOB NOT NULL,
        slot INTEGER NOT NULL,
        kind TEXT NOT NULL,
        day INTEGER NOT NULL,
        publisher TEXT NOT NULL, section TEXT NOT NULL,
        topic TEXT NOT NULL,
        campaign TEXT NOT NULL, creative TEXT NOT NULL,
        device TEXT NOT NULL,
        part TEXT NOT NULL,
        weather TEXT NOT NULL,
        ivt INTEGER NOT NULL,
        price_micros INTEGER NOT NULL,
        PRIMARY KEY (view, slot, kind)
    );
    CREATE INDEX events_by_day ON events (day)
    """,
    """
    CREATE TABLE decided (
        day INTEGER NOT NULL, publisher TEXT NOT NULL, section TEXT NOT NULL,
        asked INTEGER NOT NULL, filled INTEGER NOT NULL,
        PRIMARY KEY (day, publisher, section)
    ) WITHOUT ROWID;
    CREATE TABLE click_bounds (
        publisher TEXT NOT NULL, day INTEGER NOT NULL,
        impressions INTEGER NOT NULL, clicks INTEGER NOT NULL,
        PRIMARY KEY (publisher, day)
    ) WITHOUT ROWID;
    CREATE TABLE conversions (
        campaign TEXT NOT NULL, day INTEGER NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (campaign, day)
    ) WITHOUT ROWID;
    CREATE TABLE accounts (
        campaign TEXT PRIMARY KEY, total INTEGER, daily INTEGER,
        spent INTEGER NOT NULL, over INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE ledger (
        campaign TEXT NOT NULL, day INTEGER NOT NULL, utc_day INTEGER NOT NULL,
        events INTEGER NOT NULL, micros INTEGER NOT NULL,
        PRIMARY KEY (campaign, day, utc_day)
    ) WITHOUT ROWID;
    CREATE TABLE leases (
        worker TEXT NOT NULL, campaign TEXT NOT NULL, day INTEGER NOT NULL,
        micros INTEGER NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (worker, campaign)
    ) WITHOUT ROWID;
    CREATE INDEX leases_of ON leases (campaign);
    CREATE TABLE holds (
        campaign TEXT NOT NULL, day INTEGER NOT NULL, until INTEGER NOT NULL, micros INTEGER NOT NULL,
        PRIMARY KEY (campaign, day, until)
    ) WITHOUT ROWID;
    CREATE TABLE money_journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, at TEXT NOT NULL, actor TEXT NOT NULL,
        kind TEXT NOT NULL, campaign TEXT NOT NULL, day INTEGER NOT NULL, micros INTEGER NOT NULL,
        note TEXT NOT NULL
    );
    CREATE INDEX money_journal_of ON money_journal (campaign, day)
    """,
    """
    ALTER TABLE events ADD COLUMN message TEXT NOT NULL DEFAULT '';
    ALTER TABLE events ADD COLUMN propensity_ppm INTEGER NOT NULL DEFAULT 1000000;
    ALTER TABLE events ADD COLUMN weight_milli INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE policies (
        id TEXT PRIMARY KEY, body BLOB NOT NULL, made TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE policy_acts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, actor TEXT NOT NULL, act TEXT NOT NULL,
        policy TEXT NOT NULL
    )
    """,
    # What was noted until now was not held to what a table may count of a page view.
    "DELETE FROM decided",
    """
    CREATE TABLE withdrawn (
        creative TEXT PRIMARY KEY, at TEXT NOT NULL,
        json BLOB NOT NULL, campaign BLOB NOT NULL, advertiser BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX withdrawn_by_age ON withdrawn (at);
    CREATE TABLE withdrawn_images (
        creative TEXT NOT NULL REFERENCES withdrawn (creative) ON DELETE CASCADE,
        hash TEXT NOT NULL REFERENCES images (hash) DEFERRABLE INITIALLY DEFERRED,
        PRIMARY KEY (hash, creative)
    ) WITHOUT ROWID;
    CREATE INDEX withdrawn_images_of ON withdrawn_images (creative)
    """,
    "ALTER TABLE events ADD COLUMN rung TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE events ADD COLUMN nearness INTEGER NOT NULL DEFAULT 0",
)
