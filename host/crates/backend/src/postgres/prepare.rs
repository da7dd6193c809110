//! For hosts that may not change their schema: its owner brings it up to date, and says what the hosts' role may do in it.

use super::{PostgresConfig, map_error, migrate::migrate};
use plinth_capability::{Error, ErrorKind, Result};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// What a host does. Of the audit log it may add at the end, and take out what is in the archive: the triggers
/// that see to the latter belong to the owner, so that the host cannot switch them off.
const RIGHTS: &str = "
    GRANT USAGE ON SCHEMA plinth TO {role};
    REVOKE ALL ON ALL TABLES IN SCHEMA plinth FROM {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA plinth TO {role};
    REVOKE INSERT, UPDATE, DELETE ON plinth.migrations, plinth.settings FROM {role};
    REVOKE UPDATE ON plinth.audit, plinth.audit_marks, plinth.audit_segments FROM {role};
    REVOKE INSERT ON plinth.audit_end, plinth.audit_archive_turn FROM {role};
    REVOKE DELETE ON plinth.audit_end, plinth.audit_archive_turn, plinth.audit_marks, plinth.audit_segments, plinth.audit_epochs,
        plinth.audit_tiles, plinth.audit_checkpoints, plinth.audit_pruned FROM {role};
    GRANT USAGE ON SCHEMA _plinth_door TO {role} WITH GRANT OPTION;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA _plinth_door TO {role} WITH GRANT OPTION;";

/// Migrates as the owner of the schema, who is in `owner`, and gives `role` the rights of a host and no others.
/// It may be repeated, and has to be after an upgrade that changes the schema.
pub async fn prepare(owner: &PostgresConfig, role: &str) -> Result<()> {
    let failed = |e| map_error("postgres.prepare", e);
    let options = owner.connect_options().await?;
    let mut connection = PgConnection::connect_with(&options).await.map_err(failed)?;
    check_owner(&mut connection).await?;
    let role = checked_role(&mut connection, role).await?;
    migrate(&mut connection).await?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let sql = RIGHTS.replace("{role}", &role);
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.map_err(failed)?;
    let database: String =
        sqlx::query_scalar("SELECT quote_ident(current_database())").fetch_one(&mut *transaction).await.map_err(failed)?;
    // For the schemas of plugins' databases.
    let sql = format!("GRANT CREATE ON DATABASE {database} TO {role}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *transaction).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

fn refuse(why: String) -> Error {
    Error::new(ErrorKind::InvalidInput, "postgres.prepare", why)
}

/// A schema that hosts have made before belongs to their role.
async fn check_owner(connection: &mut PgConnection) -> Result<()> {
    let sql = "SELECT nspowner::regrole::text AS owner, current_user::text AS me, nspowner = current_user::regrole AS mine
        FROM pg_namespace WHERE nspname = 'plinth'";
    let row = sqlx::query(sql).fetch_optional(connection).await.map_err(|e| map_error("postgres.prepare", e))?;
    let Some(row) = row else { return Ok(()) };
    let read = || Ok((row.try_get("owner")?, row.try_get("me")?, row.try_get("mine")?));
    let (owner, me, mine): (String, String, bool) = read().map_err(|e| map_error("postgres.prepare", e))?;
    if mine {
        return Ok(());
    }
    Err(refuse(format!(
        "the schema `plinth` belongs to `{owner}` and not to `{me}`: stop the hosts and run `REASSIGN OWNED BY {owner} TO {me}` in this database first"
    )))
}

/// The role's name as it is written in a statement, if it is none that could take back its limits.
async fn checked_role(connection: &mut PgConnection, role: &str) -> Result<String> {
    // Before version 16 who may make roles may also make itself a member of any that is no superuser.
    let sql = "SELECT quote_ident(rolname) AS name, rolsuper, rolcreaterole, pg_has_role(oid, current_user::regrole, 'MEMBER')
            OR (current_setting('server_version_num')::int < 160000
                AND NOT (SELECT o.rolsuper FROM pg_roles o WHERE o.rolname = current_user)) AS member
        FROM pg_roles WHERE rolname = $1";
    let row = sqlx::query(sql).bind(role).fetch_optional(connection).await.map_err(|e| map_error("postgres.prepare", e))?;
    let Some(row) = row else {
        return Err(refuse(format!("there is no role `{role}`: make it with `CREATE ROLE {role} LOGIN CREATEROLE PASSWORD '…'`")));
    };
    let read = || Ok((row.try_get("name")?, row.try_get("rolsuper")?, row.try_get("rolcreaterole")?, row.try_get("member")?));
    let (name, superuser, makes_roles, member): (String, bool, bool, bool) = read().map_err(|e| map_error("postgres.prepare", e))?;
    if superuser || member {
        let why = "can act as the schema's owner, so that nothing would hold it back";
        let how = "it must be no superuser and no member of the owner, and before PostgreSQL 16 the owner must be a superuser";
        return Err(refuse(format!("the role `{role}` {why}: {how}")));
    }
    if !makes_roles {
        return Err(refuse(format!("the role `{role}` cannot make the roles of plugins' databases: `ALTER ROLE {role} CREATEROLE`")));
    }
    Ok(name)
}
