//! What a database is on the server: a schema, a role that owns it, and one that reads it.

use crate::postgres::map_error;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use plinth_capability::{Error, ErrorKind, Result, name::DatabaseName};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use std::num::NonZeroU32;

/// Rounds of SCRAM, as PostgreSQL itself does; the password has 256 random bits.
const ROUNDS: u32 = 4_096;
/// Held while roles and schemas are made, so that two hosts do not make the same.
const LOCK: i64 = 0x0170_6c69_6e74_6801;

/// How to connect to one database.
pub(super) struct Home {
    pub(super) schema: String,
    pub(super) writer: String,
    pub(super) reader: String,
    pub(super) token: String,
    key: hmac::Key,
}

impl Home {
    pub(super) fn password(&self, role: &str) -> String {
        derived(&self.key, "password", role)
    }
}

/// Makes what is missing.
pub(super) async fn ensure(pool: &PgPool, name: &DatabaseName) -> Result<Home> {
    prepare(pool, name)
        .await
        .map_err(|e| map_error("database.open", e))?
        .ok_or_else(|| Error::new(ErrorKind::Internal, "database.open", "the installation has no settings"))
}

async fn prepare(pool: &PgPool, name: &DatabaseName) -> sqlx::Result<Option<Home>> {
    let mut connection = pool.acquire().await?;
    let Some(settings) = sqlx::query("SELECT install, secret FROM plinth.settings").fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let (install, secret): (String, Vec<u8>) = (settings.try_get("install")?, settings.try_get("secret")?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let hash = hex(digest::digest(&digest::SHA256, name.as_str().as_bytes()).as_ref());
    let hash = hash.get(..12).unwrap_or_default();
    let role = |kind| format!("plinth_{install}_{hash}_{kind}");
    let home = Home {
        schema: format!("p_{}_{hash}", readable(name)),
        writer: role("rw"),
        reader: role("ro"),
        token: derived(&key, "token", name.as_str()),
        key,
    };
    if !exists(&mut connection, name, &home).await? {
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
        if !exists(&mut transaction, name, &home).await? {
            make(&mut transaction, name, &home).await?;
        }
        transaction.commit().await?;
    }
    Ok(Some(home))
}

/// Roles are the server's, not the database's: a restored dump may have no roles.
async fn exists(connection: &mut PgConnection, name: &DatabaseName, home: &Home) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM plinth.databases WHERE name = $1 AND schema = $2)
        AND (SELECT count(*) FROM pg_roles WHERE rolname IN ($3, $4)) = 2";
    sqlx::query_scalar(sql).bind(name.as_str()).bind(&home.schema).bind(&home.writer).bind(&home.reader).fetch_one(connection).await
}

async fn make(connection: &mut PgConnection, name: &DatabaseName, home: &Home) -> sqlx::Result<()> {
    for role in [&home.writer, &home.reader] {
        let known: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)").bind(role).fetch_one(&mut *connection).await?;
        let verb = if known { "ALTER" } else { "CREATE" };
        let verifier = verifier(&home.password(role));
        let rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS";
        // For a host that is not a superuser: only one who has these may leave them out.
        let rights = if is_superuser(connection).await? { rights } else { "LOGIN NOCREATEDB NOCREATEROLE NOINHERIT" };
        run(connection, format!("{verb} ROLE {role} {rights} PASSWORD '{verifier}'")).await?;
        run(connection, format!("GRANT {role} TO CURRENT_USER")).await?;
    }
    let Home { schema, writer, reader, .. } = home;
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL").bind(schema).fetch_one(&mut *connection).await?;
    if !there {
        run(connection, format!("CREATE SCHEMA {schema} AUTHORIZATION {writer}")).await?;
    }
    for sql in [
        format!("GRANT USAGE ON SCHEMA {schema} TO {reader}"),
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}"),
        format!("ALTER DEFAULT PRIVILEGES FOR ROLE {writer} IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}"),
        format!("GRANT USAGE ON SCHEMA _plinth_door TO {writer}"),
        format!("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA _plinth_door TO {writer}"),
    ] {
        run(connection, sql).await?;
    }
    sqlx::query(
        "INSERT INTO plinth.databases (name, schema, writer, reader, token) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (name) DO UPDATE SET schema = $2, writer = $3, reader = $4, token = $5",
    )
    .bind(name.as_str())
    .bind(schema)
    .bind(writer)
    .bind(reader)
    .bind(&home.token)
    .execute(connection)
    .await
    .map(drop)
}

async fn is_superuser(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetch_one(connection).await
}

/// Names in these statements are made above, of letters, digits and `_`.
async fn run(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}

/// For whoever looks at the server; the hash behind it tells names apart.
fn readable(name: &DatabaseName) -> String {
    name.as_str().chars().take(40).map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}

fn derived(key: &hmac::Key, what: &str, of: &str) -> String {
    hex(hmac::sign(key, format!("{what}\n{of}").as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the server stores instead of the password (RFC 5803), so that the
/// password is in no statement and no log.
fn verifier(password: &str) -> String {
    let mut salt = [0; 16];
    // Without randomness the salt is that of everybody; the password is random itself.
    if rand::fill(&mut salt).is_err() {
        tracing::warn!("no randomness for the salt of a password");
    }
    verifier_with(password, &salt)
}

fn verifier_with(password: &str, salt: &[u8]) -> String {
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client = hmac::sign(&key, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client.as_ref());
    let server = hmac::sign(&key, b"Server Key");
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("SCRAM-SHA-256${ROUNDS}:{}${}:{}", text(salt), text(stored.as_ref()), text(server.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_that_of_rfc_7677() {
        // The example's user has the password `pencil`; its client proof was checked by hand against this.
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let expected = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(verifier_with("pencil", &salt), expected);
    }

    #[test]
    fn names_are_plain() {
        let name = DatabaseName::new("shared/My-Data.x").unwrap();
        assert_eq!(readable(&name), "shared_my_data_x");
        assert!(readable(&DatabaseName::new(&"a".repeat(160)).unwrap()).len() + "p__".len() + 12 <= 63);
    }
}
