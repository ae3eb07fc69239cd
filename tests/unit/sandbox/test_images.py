"""Several images, chosen by key, and the way from one build of an image to the next."""

import pytest
from pytest_django import Settings

from audit.models import Execution, SandboxContainer
from keys.models import APIKey, Issuer
from sandbox import keeper, pool, rollout
from sandbox.checks import check_images
from sandbox.confinement import confinement
from sandbox.errors import ImageMissing
from sandbox.services import Caller
from tests.fakes.engine import FakeEngine
from tests.unit.api.librechat import LibreChat
from tests.unit.sandbox.helpers import run

pytestmark = pytest.mark.usefixtures("fake")

State = SandboxContainer.State


@pytest.fixture(autouse=True)
def _science(settings: Settings) -> None:
    settings.SANDBOX_IMAGES = {"science": "custom-rce-science:latest"}
    settings.SANDBOX_POOL_SIZE = 1


@pytest.fixture
def scientist(db: None) -> Caller:
    return Caller(key=APIKey.issue(name="Scientist", image="science")[0])


def image_of(fake: FakeEngine, container: SandboxContainer | None) -> str:
    assert container
    return fake.confinements[container.name].image


def test_a_key_with_an_image_never_gets_a_container_of_another(
    scientist: Caller, alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    keeper.refill()
    first = run(scientist, "print(1)")
    assert first.execution.container_source == Execution.Source.CREATED
    assert image_of(fake, first.execution.container) == "custom-rce-science:latest"
    other = run(alice, "print(1)")
    assert other.execution.container_source == Execution.Source.POOL
    assert image_of(fake, other.execution.container) == settings.SANDBOX_IMAGE


def test_a_further_image_can_have_a_pool_of_its_own(
    scientist: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_IMAGE_POOL_SIZES = {"science": 1}
    assert keeper.refill() == 2
    keeper.end_containers()
    assert SandboxContainer.objects.warm().count() == 2
    ran = run(scientist, "print(1)")
    assert ran.execution.container_source == Execution.Source.POOL
    assert image_of(fake, ran.execution.container) == "custom-rce-science:latest"


def test_an_issuers_tenants_have_its_image(db: None, fake: FakeEngine) -> None:
    issuer = Issuer.objects.create(name="LibreChat", image="science")
    tenant = APIKey.objects.for_tenant(issuer, "legacy")
    ran = run(Caller(key=tenant), "print(1)")
    assert image_of(fake, ran.execution.container) == "custom-rce-science:latest"


def test_a_key_that_gets_another_image_leaves_its_idle_containers(scientist: Caller) -> None:
    run(scientist, "print(1)")
    APIKey.objects.update(image="")
    keeper.end_containers()
    assert not SandboxContainer.objects.idle().exists()


@pytest.mark.django_db
def test_an_image_that_left_the_settings_is_an_error_that_says_so(settings: Settings) -> None:
    librechat = LibreChat.named("Scientist")
    APIKey.objects.update(image="science")
    librechat.run("print(1)")
    settings.SANDBOX_IMAGES = {}
    with pytest.raises(ImageMissing, match="SANDBOX_IMAGES"):
        pool.of_use(APIKey.objects.get())
    assert librechat.exec("print(1)").status_code == 503
    keeper.end_containers()
    assert not SandboxContainer.objects.idle().exists()


def test_another_image_is_another_confinement() -> None:
    assert confinement(image="a:1").digest != confinement(image="a:2").digest


def test_containers_of_an_older_build_go_as_they_get_idle(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    settings.SANDBOX_POOL_SIZE = 2
    ran = run(alice, "open('a.txt', 'w').write('kept')")
    keeper.refill()
    assert rollout.retire_older_builds() == 0
    fake.builds[settings.SANDBOX_IMAGE] = "the next one"
    # The idle one, and one of the two that wait: the pool is never empty for it.
    assert rollout.retire_older_builds() == 2
    assert SandboxContainer.objects.warm().count() == 1
    keeper.refill()
    assert rollout.retire_older_builds() == 1
    keeper.refill()
    assert rollout.retire_older_builds() == 0
    assert {info.image_id for info in fake.list()} == {"the next one"}
    again = run(alice, "print(open('a.txt').read())", session_id=ran.session.pk)
    assert again.execution.stdout == "kept\n"


def test_a_run_in_an_older_build_goes_on(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    run(alice, "print(1)")
    SandboxContainer.objects.update(state=State.LEASED)
    fake.builds[settings.SANDBOX_IMAGE] = "the next one"
    assert rollout.retire_older_builds() == 0


def test_without_the_image_nothing_is_retired(
    alice: Caller, fake: FakeEngine, settings: Settings
) -> None:
    run(alice, "print(1)")
    fake.builds[settings.SANDBOX_IMAGE] = None
    assert rollout.retire_older_builds() == 0


@pytest.mark.parametrize(
    ("images", "sizes", "ids"),
    [
        ({"science": "a:1"}, {"science": 1}, []),
        ({"Science!": "a:1"}, {}, ["sandbox.E007"]),
        ({"default": "another:1"}, {}, ["sandbox.E007"]),
        ({}, {"science": 1}, ["sandbox.E008"]),
        ({"science": "a:1"}, {"science": 15}, ["sandbox.E008"]),
        ({"science": "a:1"}, {"science": -1}, ["sandbox.E008"]),
    ],
)
def test_images_that_cannot_work_are_refused_at_start(
    settings: Settings, images: dict[str, str], sizes: dict[str, int], ids: list[str]
) -> None:
    settings.SANDBOX_IMAGES, settings.SANDBOX_IMAGE_POOL_SIZES = images, sizes
    assert [message.id for message in check_images(None)] == ids
