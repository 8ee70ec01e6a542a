//! Where a SIP server is: RFC 3263 §4, from a name to addresses.

use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::lookup::Found;
use super::record::{Kind, Naptr, Record, Srv};
use super::service::{self, Choice, Service};
use super::weight;
use super::{DnsError, Host, Located, MAX_PLACES, Name, Place, Reason, Resolver, Target, VALID};

/// When each of the three questions must be answered, from the start: by which transports a domain is spoken to,
/// by which hosts, at which addresses.
const DEADLINES: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(10)];

/// How long it holds that a domain says nothing: it may begin to.
const NOTHING_HOLDS: Duration = Duration::from_secs(300);

/// A domain whose SRV records are asked for.
type Domain = (&'static Service, Name);

/// A host that listens at a port.
type Listener = (&'static Service, Name, u16);

impl Resolver {
    /// Locates the servers of a target, in the order in which they are to be tried; takes at most 10 s.
    ///
    /// An address is taken as it is. A name with a port is a host, and its addresses are asked for; so is a name
    /// that this machine knows by itself. Another name may be a domain: unless the transport is given, it says by
    /// NAPTR which it prefers; by SRV it says which hosts serve it; and if it says nothing, it is the host itself,
    /// which listens at the transport's own port. Where nothing says otherwise the transport is UDP.
    ///
    /// # Errors
    ///
    /// Why there is no place.
    pub async fn locate(&self, target: &Target) -> Result<Located, DnsError> {
        let [of_domains, of_hosts, of_addresses] = DEADLINES.map(|time| Instant::now() + time);
        let services = service::wanted(target.transport);
        let first = services.first().copied();
        let name = match &target.host {
            Host::Name(name) => name,
            Host::Ip(address) => {
                let transport = target.transport.unwrap_or(service::DEFAULT.transport);
                let port = target.port.unwrap_or(first.unwrap_or(&service::DEFAULT).port);
                let place = Place { transport, address: SocketAddr::new(*address, port) };
                return Ok(Located { places: vec![place], valid: VALID.1 });
            }
        };
        let Some(first) = first else { return Err(not_offered(name)) };
        let (hosts, ttl) = if target.port.is_some() || self.hosts.borrow().addresses(name).is_some() {
            (vec![(first, name.clone(), target.port.unwrap_or(first.port))], Duration::MAX)
        } else {
            let domains = match target.transport {
                Some(_) => Found { items: by_convention(name, &services), ttl: Duration::MAX },
                None => self.domains(name, &services, of_domains).await?,
            };
            let hosts = self.listeners(name, first, domains.items, of_hosts).await?;
            (hosts.items, hosts.ttl.min(domains.ttl))
        };
        let places = self.places(hosts, of_addresses).await?;
        Ok(Located { places: places.items, valid: ttl.min(places.ttl).clamp(VALID.0, VALID.1) })
    }

    /// By which transports a domain is spoken to. Who does not say it, or is not heard, is asked for each.
    async fn domains(
        &self,
        name: &Name,
        services: &[&'static Service],
        deadline: Instant,
    ) -> Result<Found<Vec<Domain>>, DnsError> {
        let found = match self.records(name, Kind::Naptr, deadline).await {
            Ok(found) => found,
            Err(error) => return Ok(Found { items: by_convention(name, services), ttl: holds(&error) }),
        };
        let records = found.items.iter().filter_map(|record| match record {
            Record::Naptr(naptr) => Some(naptr.clone()),
            _ => None,
        });
        let records: Vec<Naptr> = records.collect();
        match service::choose(records, services) {
            Choice::Open => Ok(Found { items: by_convention(name, services), ttl: found.ttl }),
            Choice::Elsewhere => Err(not_offered(name)),
            Choice::Of(domains) => Ok(Found { items: domains, ttl: found.ttl }),
        }
    }

    /// Which hosts serve these domains: all that the first names, then those of the second.
    async fn listeners(
        &self,
        name: &Name,
        first: &'static Service,
        domains: Vec<Domain>,
        deadline: Instant,
    ) -> Result<Found<Vec<Listener>>, DnsError> {
        let questions = domains.iter().map(|(_, domain)| self.records(domain, Kind::Srv, deadline));
        let answers = all(questions.collect()).await;
        let mut listeners = Vec::new();
        let mut ttl = Duration::MAX;
        let (mut failed, mut is_refused) = (None, false);
        for ((service, _), answer) in domains.iter().zip(answers) {
            match answer {
                Ok(found) => {
                    ttl = ttl.min(found.ttl);
                    let hosts = found.items.iter().filter_map(|record| match record {
                        Record::Srv(srv) => Some(srv.clone()),
                        _ => None,
                    });
                    let hosts: Vec<Srv> = weight::in_order(hosts.collect(), &self.random);
                    is_refused |= hosts.iter().all(|host| host.target.is_none());
                    let named =
                        hosts.into_iter().filter_map(|host| Some((*service, host.target?, host.port)));
                    listeners.extend(named);
                }
                Err(error) => {
                    ttl = ttl.min(holds(&error));
                    failed = failed.or(Some(error).filter(|error| error.reason.is_failure()));
                }
            }
        }
        match failed {
            _ if !listeners.is_empty() => {}
            // The host of that name may be another one than those that would have been named.
            Some(error) => return Err(error),
            None if is_refused => return Err(not_offered(name)),
            None => {
                let service = domains.first().map_or(first, |(service, _)| service);
                listeners.push((service, name.clone(), service.port));
            }
        }
        listeners.truncate(MAX_PLACES);
        Ok(Found { items: listeners, ttl })
    }

    /// The addresses of these hosts: at least one.
    async fn places(
        &self,
        listeners: Vec<Listener>,
        deadline: Instant,
    ) -> Result<Found<Vec<Place>>, DnsError> {
        let questions = listeners.iter().map(|(_, host, _)| self.addresses(host, deadline));
        let answers = all(questions.collect()).await;
        let mut found = Found { items: Vec::new(), ttl: Duration::MAX };
        let mut failed = None;
        for ((service, _, port), answer) in listeners.iter().zip(answers) {
            match answer {
                Ok(addresses) => {
                    found.ttl = found.ttl.min(addresses.ttl);
                    for address in addresses.items {
                        let address = SocketAddr::new(address, *port);
                        let place = Place { transport: service.transport, address };
                        if found.items.len() < MAX_PLACES && !found.items.contains(&place) {
                            found.items.push(place);
                        }
                    }
                }
                Err(error) => {
                    found.ttl = found.ttl.min(holds(&error));
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            Some(error) if found.items.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

/// How long something holds that follows from there being no answer, or none that says something.
fn holds(error: &DnsError) -> Duration {
    if error.reason.is_failure() { Duration::ZERO } else { NOTHING_HOLDS }
}

/// Where each service's SRV records are when nobody says otherwise.
fn by_convention(name: &Name, services: &[&'static Service]) -> Vec<Domain> {
    services.iter().filter_map(|service| Some((*service, name.below(service.srv)?))).collect()
}

fn not_offered(name: &Name) -> DnsError {
    DnsError { name: name.clone(), reason: Reason::NotOffered, asked: Vec::new() }
}

/// What comes of all of these, side by side: at most as many as there are places.
async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    let mut waiting = pin!(std::future::poll_fn(move |context| {
        for (future, output) in futures.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(ready) = future.as_mut().poll(context) {
                *output = Some(ready);
            }
        }
        match futures.iter().all(|(_, output)| output.is_some()) {
            true => Poll::Ready(futures.iter_mut().filter_map(|(_, output)| output.take()).collect()),
            false => Poll::Pending,
        }
    }));
    waiting.as_mut().await
}
