//! The fleet's suite over every backend.

mod postgres {
    use plinth_backend::{
        fleet::PostgresFleet,
        postgres::{Postgres, PostgresConfig},
        state::PostgresState,
    };
    use plinth_capability::{conformance::fleet::FleetFixture, fleet::Fleet, state::HostState};
    use plinth_services::shared;
    use std::sync::Arc;

    struct Fixture {
        hosts: [Arc<PostgresFleet>; 2],
        state: Arc<PostgresState>,
        _database: shared::Database,
    }

    async fn fixture() -> Fixture {
        let database = shared::postgres_database().await.unwrap();
        let config = PostgresConfig { url: database.url().to_owned(), ..PostgresConfig::default() };
        // Each host has connections of its own.
        let (one, two) = (Postgres::open(&config).await.unwrap(), Postgres::open(&config).await.unwrap());
        let state = Arc::new(PostgresState::new(one.clone()));
        let hosts = [one, two].map(|postgres| Arc::new(PostgresFleet::new(postgres)));
        Fixture { hosts, state, _database: database }
    }

    impl FleetFixture for Fixture {
        fn hosts(&self) -> [Arc<dyn Fleet>; 2] {
            self.hosts.clone().map(|host| host as Arc<dyn Fleet>)
        }

        fn state(&self) -> Arc<dyn HostState> {
            self.state.clone()
        }
    }

    plinth_capability::fleet_conformance!(fixture());
}
