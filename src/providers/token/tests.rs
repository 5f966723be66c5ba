//! The life of a token, on a clock that is moved by hand where time matters.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

fn granted(token: &str, life_secs: u32) -> GrantedToken {
    GrantedToken { token: token.into(), life_secs }
}

#[tokio::test]
async fn a_hundred_calls_that_wait_for_a_token_are_one_fetch() {
    let (cache, fetches) = (TokenCache::default(), AtomicU32::new(0));
    let calls = (0..100).map(|_| {
        cache.get(|| async {
            fetches.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(granted("t", 900))
        })
    });
    let tokens = futures::future::join_all(calls).await;
    assert!(tokens.iter().all(|t| t.as_ref().is_ok_and(|t| t.text == "t")));
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_everybodys_answer_and_the_next_call_tries_again() {
    let (cache, fetches) = (TokenCache::default(), AtomicU32::new(0));
    let fetch = || async {
        fetches.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Err(TokenError::Unreadable)
    };
    let tokens = futures::future::join_all((0..100).map(|_| cache.get(fetch))).await;
    assert!(tokens.iter().all(|t| t.as_ref().is_err_and(|e| *e == TokenError::Unreadable)));
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
    assert!(cache.get(|| async { Ok(granted("t", 900)) }).await.is_ok());
}

#[tokio::test]
async fn a_caller_without_budget_does_not_speak_for_those_who_have_some() {
    let cache = TokenCache::default();
    let denied = cache.get(|| async {
        tokio::task::yield_now().await;
        Err(TokenError::Denied)
    });
    let granted = cache.get(|| async { Ok(granted("t", 900)) });
    let (first, second) = tokio::join!(denied, granted);
    assert!(first.is_err_and(|e| e == TokenError::Denied));
    assert_eq!(second.unwrap().text, "t");
}

#[tokio::test]
async fn a_token_is_refreshed_at_nine_tenths_of_its_life() {
    let cache = TokenCache::default();
    let asked_at = Instant::now();
    cache.store(Ok(Token::granted(granted("t", 900), None, asked_at))).unwrap();
    let usable = |secs| cache.usable(asked_at + Duration::from_secs(secs)).is_some();
    assert!(usable(0) && usable(809));
    assert!(!usable(810) && !usable(900));
}

#[tokio::test]
async fn an_old_token_that_lives_is_used_on_when_the_refresh_fails() {
    let cache = TokenCache::default();
    let almost_over = Instant::now().checked_sub(Duration::from_secs(850)).unwrap();
    cache.store(Ok(Token::granted(granted("old", 900), None, almost_over))).unwrap();
    let fetches = AtomicU32::new(0);
    for _ in 0..3 {
        let token = cache
            .get(|| async {
                fetches.fetch_add(1, Ordering::Relaxed);
                Err(TokenError::Unreadable)
            })
            .await;
        assert_eq!(token.unwrap().text, "old");
    }
    assert_eq!(fetches.load(Ordering::Relaxed), 1, "the refresh is tried again only after a pause");
    let dead = Instant::now().checked_sub(Duration::from_secs(901)).unwrap();
    cache.store(Ok(Token::granted(granted("dead", 900), None, dead))).unwrap();
    assert!(cache.get(|| async { Err(TokenError::Unreadable) }).await.is_err());
}

#[tokio::test]
async fn a_refused_token_is_dropped_but_never_a_newer_one() {
    let cache = TokenCache::default();
    let old = cache.get(|| async { Ok(granted("old", 900)) }).await.unwrap();
    cache.drop_refused(&old).await;
    let new = cache.get(|| async { Ok(granted("new", 900)) }).await.unwrap();
    assert_eq!(new.text, "new");
    // A slower call now comes back with its 401 for the old one.
    cache.drop_refused(&old).await;
    assert_eq!(cache.get(|| async { Err(TokenError::Unreadable) }).await.unwrap().text, "new");
}

#[tokio::test]
async fn while_one_refreshes_the_others_go_on_with_the_old_token() {
    let cache = TokenCache::default();
    let almost_over = Instant::now().checked_sub(Duration::from_secs(850)).unwrap();
    cache.store(Ok(Token::granted(granted("old", 900), None, almost_over))).unwrap();
    let (arrive, leave) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let refresh = cache.get(|| async {
        arrive.notify_one();
        leave.notified().await;
        Ok(granted("new", 900))
    });
    let others = async {
        arrive.notified().await;
        let token = cache.get(|| async { Err(TokenError::Unreadable) }).await;
        leave.notify_one();
        token
    };
    let (new, old) = tokio::join!(refresh, others);
    assert_eq!((new.unwrap().text.as_str(), old.unwrap().text.as_str()), ("new", "old"));
}

#[test]
fn a_token_is_never_shown() {
    let shown = format!("{:?}", granted("s3cret-token", 900));
    assert!(!shown.contains("s3cret"), "{shown}");
}
