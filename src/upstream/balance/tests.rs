use super::*;

/// Servers as a test wants them.
#[derive(Default)]
struct Fixed {
    loads: Vec<u64>,
    latencies: Vec<f32>,
    down: Vec<usize>,
}

impl Fixed {
    fn idle(servers: usize) -> Self {
        Self { loads: vec![0; servers], latencies: vec![1.0; servers], down: Vec::new() }
    }

    fn loads(loads: &[u64]) -> Self {
        Self { loads: loads.into(), ..Self::idle(loads.len()) }
    }

    fn down(mut self, servers: &[usize]) -> Self {
        self.down = servers.into();
        self
    }
}

impl Servers for Fixed {
    fn load(&self, server: usize) -> u64 {
        self.loads[server]
    }
    fn latency(&self, server: usize) -> Expected {
        Expected::of(self.latencies[server], 0)
    }
    fn is_usable(&self, server: usize) -> bool {
        !self.down.contains(&server)
    }
    fn has_its_turn(&self, _: usize) -> bool {
        true
    }
    fn total_load(&self) -> u64 {
        self.loads.iter().sum()
    }
}

fn shares(balancer: &Balancer, servers: &Fixed, rounds: u64) -> Vec<u64> {
    let mut counts = vec![0; servers.loads.len()];
    (0..rounds).for_each(|round| counts[balancer.choose(servers, Some(digest(&round.to_be_bytes()))).unwrap()] += 1);
    counts
}

fn all() -> [Balance; 4] {
    [Balance::LeastRequests, Balance::RoundRobin, Balance::PeakEwma, Balance::Hash(HashBy::ClientIp)]
}

#[test]
fn round_robin_is_interleaved_by_weight() {
    let balancer = Balancer::new(&Balance::RoundRobin, &[5, 1, 1]);
    let turn: Vec<_> = (0..7).map(|_| balancer.choose(&Fixed::idle(3), None).unwrap()).collect();
    assert_eq!(turn, [0, 0, 2, 0, 0, 1, 0]);
}

#[test]
fn equal_weights_take_turns_however_large() {
    let balancer = Balancer::new(&Balance::RoundRobin, &[1_000_000, 1_000_000]);
    assert_eq!(shares(&balancer, &Fixed::idle(2), 100), [50, 50]);
}

#[test]
fn a_server_that_is_down_leaves_its_turns_to_all_others() {
    let balancer = Balancer::new(&Balance::RoundRobin, &[1; 5]);
    assert_eq!(shares(&balancer, &Fixed::idle(5).down(&[2]), 400), [100, 100, 0, 100, 100]);
}

#[test]
fn least_requests_prefers_the_server_with_room_for_its_weight() {
    let choose = |weights: &[u32], loads: &[u64]| {
        let balancer = Balancer::new(&Balance::LeastRequests, weights);
        (0..100).map(|_| balancer.choose(&Fixed::loads(loads), None).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(choose(&[1, 1], &[3, 2]), [1; 100]);
    assert_eq!(choose(&[1, 4], &[2, 7]), [1; 100]);
}

#[test]
fn idle_servers_share_by_weight() {
    let counts = shares(&Balancer::new(&Balance::LeastRequests, &[1, 3]), &Fixed::idle(2), 40_000);
    assert!((9_000..11_000).contains(&counts[0]), "{counts:?}");
}

#[test]
fn peak_ewma_prefers_the_server_that_answers_sooner_for_what_it_has_to_do() {
    let balancer = Balancer::new(&Balance::PeakEwma, &[1, 1]);
    let choose = |loads: &[u64], latencies: &[f32]| {
        let servers = Fixed { latencies: latencies.into(), ..Fixed::loads(loads) };
        (0..100).map(|_| balancer.choose(&servers, None).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(choose(&[0, 0], &[10.0, 100.0]), [0; 100]);
    assert_eq!(choose(&[19, 0], &[10.0, 100.0]), [1; 100]);
    assert_eq!(choose(&[0, 0], &[10.0, 0.0]), [1; 100], "one that is not known is tried");
    assert_eq!(choose(&[0, 1], &[10.0, 0.0]), [0; 100], "and by one request at first");
}

#[test]
fn a_key_keeps_its_server_and_leaves_it_only_while_that_is_down_or_full() {
    let balancer = Balancer::new(&Balance::Hash(HashBy::Subject), &[1; 4]);
    let key = Some(digest(b"u1"));
    let home = balancer.choose(&Fixed::idle(4), key).unwrap();
    assert!((0..100).all(|_| balancer.choose(&Fixed::idle(4), key) == Some(home)));
    let away = balancer.choose(&Fixed::idle(4).down(&[home]), key).unwrap();
    assert!(away != home && (0..100).all(|_| balancer.choose(&Fixed::idle(4).down(&[home]), key) == Some(away)));
    let mut loads = [10; 4];
    loads[home] = 15;
    assert_ne!(balancer.choose(&Fixed::loads(&loads), key), Some(home), "16 would be more than 1.25 of 11.5");
}

#[test]
fn whoever_is_down_is_chosen_by_nobody_and_the_last_one_left_by_all() {
    for balance in all() {
        let balancer = Balancer::new(&balance, &[3; 20]);
        let down: Vec<usize> = (0..20).filter(|server| *server != 7).collect();
        assert_eq!(shares(&balancer, &Fixed::idle(20).down(&down), 200)[7], 200, "{balance:?}");
        let all: Vec<usize> = (0..20).collect();
        assert_eq!(balancer.choose(&Fixed::idle(20).down(&all), None), None);
        assert_eq!(Balancer::new(&balance, &[1]).choose(&Fixed::idle(1).down(&[0]), Some(1)), None);
    }
}
